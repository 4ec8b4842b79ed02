"""The attention items: put, kept and ended in the transaction of an outcome."""

from dataclasses import replace

import pytest

from recon.domain.attention import Attention
from recon.domain.outcome import Outcome, SkipReason
from recon.dynamodb.attention import acknowledge, find_attention, parse_attention
from recon.dynamodb.outcome_writer import OutcomeWriter, Recheck
from recon.dynamodb.outcomes import load_prior_state
from recon.dynamodb.session_result import SessionResult
from recon.errors import MalformedSession
from recon.timestamps import DAY, to_iso
from testkit.builders import NOW, RUN
from testkit.runs import BEGAN, STATE

KEY = ("SYSTEM", "ATTENTION#cs_1")
DISMISSED = ("SYSTEM", "DISMISSED#cs_1")
ITEM = {"PK": "SYSTEM", "SK": "ATTENTION#cs_1", "amount": 4999, "currency": "eur", "since": BEGAN}
LATER = NOW + DAY
ORDER = {"PK": "USER#u1", "SK": "ORDER#1#cs_1", "orderNumber": "BC-1", "amount": 4999, "currency": "eur"}
ON_ORDERS = [
    Attention.PARTLY_CAPTURED,
    Attention.PARTLY_REFUNDED,
    Attention.DISPUTED,
    Attention.UNDER_REVIEW,
    Attention.FRAUD_REPORTED,
    Attention.ORDER_SAYS_UNPAID,
]
ON_SESSIONS = [word for word in Attention if word not in ON_ORDERS]


@pytest.fixture(autouse=True)
def state_of_this_run(put):
    put(STATE, lastSyncRunId=RUN)


@pytest.fixture
def deadline(time):
    return time.deadline(60)


@pytest.fixture
def write(table, deadline):
    """Return a writer of one result that reads the prior state first, as the consumer does."""

    def write_result(result, *, at=LATER, run=RUN, prior="read"):
        if prior == "read":
            prior = load_prior_state(table, [(run, "cs_1")], deadline).attention.get("cs_1")
        result = replace(result, prior_attention=prior)
        writer = OutcomeWriter(
            table,
            run,
            at,
            deadline,
            holds_state=run == RUN,
            look_again=lambda results: Recheck(list(results), {}),
        )
        return writer.write([result])

    return write_result


def skipped(reason=SkipReason.UNPAID, **changes):
    result = SessionResult("cs_1", Outcome.SKIPPED, 1, "m-1", reason=reason, amount=4999, currency="eur")
    return replace(result, **changes)


def created(*words):
    return SessionResult("cs_1", Outcome.CREATED, 1, "m-1", order=ORDER, attention=words)


@pytest.mark.parametrize("word", Attention)
def test_word_of_an_outcome_is_stored(word, write, item):
    write(skipped(attention=(word,), attention_until=NOW + 9), at=NOW)
    until = {"until": NOW + 9} if word is Attention.AWAITING_CAPTURE else {}
    assert item(KEY) == ITEM | {"words": [word]} | until


def test_words_of_a_written_order_are_stored_with_its_amount(write, item):
    write(created(Attention.DISPUTED, Attention.UNDER_REVIEW), at=NOW)
    assert item(KEY) == ITEM | {"words": ["disputed", "under_review"]}


@pytest.mark.parametrize("word", Attention)
def test_repeated_words_write_nothing(word, write, item, memory):
    write(skipped(attention=(word,)), at=NOW)
    assert count_writes(memory) == 1
    write(skipped(attention=(word,)), run="R2")
    assert item(KEY)["since"] == BEGAN
    assert count_writes(memory) == 1


def count_writes(memory):
    """Return the number of actions that change the attention item."""
    actions = [
        action
        for call in memory.history.calls
        if call.method == "transact_write_items"
        for kinds in call.arguments["TransactItems"]
        for kind, action in kinds.items()
        if kind != "ConditionCheck"
    ]
    keys = [action.get("Item") or action.get("Key") for action in actions]
    return sum((key["PK"]["S"], key["SK"]["S"]) == KEY for key in keys)


@pytest.mark.parametrize("word", ON_SESSIONS)
def test_word_about_a_session_ends_with_the_next_outcome(word, write, item):
    write(skipped(attention=(word,)), at=NOW)
    write(skipped(), run="R2")
    assert item(KEY) is None


@pytest.mark.parametrize("word", ON_ORDERS)
def test_word_about_an_order_outlasts_the_next_outcomes(word, write, item):
    write(created(word), at=NOW)
    for run, reason in (("R2", SkipReason.EXISTS), ("R3", SkipReason.EXPIRED), ("R4", SkipReason.UNPAID)):
        write(skipped(reason), run=run)
    assert item(KEY) == ITEM | {"words": [word]}


def test_word_of_another_version_outlasts_the_next_outcome(write, item, put):
    put(KEY, words=["shipped_twice"], since=BEGAN)
    write(skipped(SkipReason.EXISTS))
    assert item(KEY)["words"] == ["shipped_twice"]


def test_order_that_says_paid_ends_only_what_was_said_of_that(write, item):
    write(skipped(SkipReason.EXISTS, attention=(Attention.DISPUTED, Attention.ORDER_SAYS_UNPAID)), at=NOW)
    write(skipped(SkipReason.EXISTS), run="R2")
    assert item(KEY)["words"] == ["disputed", "order_says_unpaid"]
    write(skipped(SkipReason.EXISTS, order_says_paid=True), run="R3")
    assert item(KEY) == ITEM | {"words": ["disputed"]}


def test_error_changes_nothing(write, item):
    write(skipped(attention=(Attention.AWAITING_CAPTURE,), attention_until=LATER), at=NOW)
    before = item(KEY)
    write(SessionResult("cs_1", Outcome.ERROR, 1, "m-1", error=MalformedSession("id")), run="R2")
    assert item(KEY) == before


def test_new_word_starts_all_over(write, item, put):
    put(KEY, words=["disputed"], since=BEGAN, acknowledgedBy="jane", expiresAt=LATER)
    write(skipped(SkipReason.EXISTS, attention=(Attention.ORDER_SAYS_UNPAID,)))
    assert item(KEY) == ITEM | {"words": ["disputed", "order_says_unpaid"], "since": to_iso(LATER)}


def test_acknowledged_words_stay_silent_until_they_change(table, deadline, write, item):
    write(skipped(attention=(Attention.AWAITING_CAPTURE, Attention.ORDER_SAYS_UNPAID)), at=NOW)
    [record] = find_attention(table)
    assert acknowledge(table, record, "jane", NOW, deadline)
    assert list(find_attention(table, only_open=True)) == []
    silent = item(KEY)
    assert (silent["acknowledgedBy"], silent["expiresAt"]) == ("jane", NOW + 450 * DAY)
    write(skipped(attention=record.words), run="R2")
    assert item(KEY) == silent
    write(skipped(), run="R3")
    assert item(KEY) == silent | {"words": ["order_says_unpaid"]}
    write(skipped(attention=(Attention.AWAITING_CAPTURE,)), run="R4")
    assert [one.words for one in find_attention(table, only_open=True)] == [
        ("order_says_unpaid", "awaiting_capture")
    ]


def test_words_that_changed_since_they_were_read_are_not_acknowledged(table, deadline, write, item):
    write(skipped(attention=(Attention.AWAITING_CAPTURE,)), at=NOW)
    [record] = find_attention(table)
    write(skipped(attention=(Attention.GONE,)), run="R2")
    assert not acknowledge(table, record, "jane", NOW, deadline)
    assert "acknowledgedBy" not in item(KEY)


def test_date_is_kept_until_another_is_known(write, item):
    for number, (until, kept) in enumerate([(None, None), (LATER, LATER), (None, LATER), (NOW, NOW)]):
        result = skipped(attention=(Attention.AWAITING_CAPTURE,), attention_until=until)
        write(result, at=NOW + number, run=f"R{number}")
        assert (item(KEY)["since"], item(KEY).get("until")) == (BEGAN, kept)


@pytest.mark.parametrize(
    ("stored", "left"),
    [
        ({"words": ["disputed"]}, ["disputed"]),
        ({"words": ["gone"]}, None),
        ({"words": []}, None),
        ({"words": "no list"}, None),
    ],
)
def test_item_that_another_run_changed_is_decided_again(stored, left, write, item, put):
    put(KEY, since=BEGAN, **stored)
    read = parse_attention({"SK": KEY[1], "words": ["awaiting_capture"]})
    assert write(skipped(), prior=read).failed == {}
    assert (item(KEY) or {}).get("words") == left


def test_word_that_meets_an_item_of_another_run_joins_it(write, item, put):
    put(KEY, words=["disputed"], since=BEGAN)
    assert write(skipped(attention=(Attention.GONE,)), prior=None).failed == {}
    assert item(KEY)["words"] == ["disputed", "gone"]


def test_repeated_words_that_another_run_has_ended_are_told_again(write, item):
    """Two runs of one batch, or of two, know the session with and without its payment."""
    write(skipped(attention=(Attention.NO_USER_PAID,)), at=NOW)
    read = parse_attention(item(KEY))
    write(skipped(), run="R2", prior=read)
    assert item(KEY) is None
    write(skipped(attention=(Attention.NO_USER_PAID,)), run="R3", prior=read)
    assert item(KEY)["words"] == ["no_user_paid"]


def test_item_without_words_is_replaced(write, item, put):
    put(KEY, since=BEGAN)
    assert write(skipped(attention=(Attention.GONE,))).failed == {}
    assert item(KEY)["words"] == ["gone"]
    put(KEY, since=BEGAN)
    assert write(skipped(), run="R2").failed == {}


def test_order_of_a_session_dismissed_since_is_not_written(write, item, put):
    put(DISMISSED, dismissedBy="jane")
    put(KEY, words=["awaiting_capture"], since=BEGAN)
    done = write(created(Attention.DISPUTED))
    assert (done.applied["cs_1"].outcome, done.applied["cs_1"].reason) == ("skipped", "dismissed")
    assert item((ORDER["PK"], ORDER["SK"])) is None
    assert item(KEY) is None


def test_order_found_before_its_put_says_nothing_new(write, item, put):
    put((ORDER["PK"], ORDER["SK"]), orderNumber="BC-1")
    assert write(created(Attention.DISPUTED)).applied["cs_1"].reason == "exists"
    assert item(KEY) is None


@pytest.mark.parametrize("words", [(), (Attention.DISPUTED,)])
@pytest.mark.parametrize("stored", [None, {"SK": KEY[1], "words": ["disputed"]}])
def test_actions_are_counted(words, stored, write, put, memory):
    if stored:
        put(KEY, words=["disputed"])
    prior = stored and parse_attention(stored)
    result = replace(created(*words), prior_attention=prior)
    write(result, prior=prior)
    [call] = [call for call in memory.history.calls if call.method == "transact_write_items"]
    assert result.action_count + 2 == len(call.arguments["TransactItems"])
