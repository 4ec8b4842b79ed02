"""Sessions as a list of Stripe's might hold them one day: no field of one keeps the others from being sent,
and what cannot be told by its id is told by a warning of the run.
"""

import os
from itertools import batched

import pytest

from recon.domain.message import is_id
from testkit.builders import RUN
from tests.hostile.judge import kept_of, secrets_told, wrongs_of
from tests.hostile.mutations import mutations_of
from tests.hostile.paths import paths_of_a_session
from tests.hostile.stage import Stage, a_rich_session, as_fetched, as_listed

PAGE = 20
CHUNKS = 4
STRIDE = 11


@pytest.fixture(scope="module")
def base(account):
    return as_listed(account, a_rich_session("base"))


@pytest.fixture(scope="module")
def whole(account):
    return as_fetched(account, a_rich_session("base"))


@pytest.fixture(scope="module")
def chosen(base):
    """`id` and `created` in every way: the listing itself goes by them."""
    every = [m for m in mutations_of(base, paths_of_a_session()) if m.path[0] in base and len(m.path) <= 2]
    if os.environ.get("HOSTILE") == "all":
        return every
    return [m for n, m in enumerate(every) if m.path in {("id",), ("created",)} or n % STRIDE == 0]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_mutated_entry_of_a_list_takes_no_neighbour_along(account, base, whole, chosen, chunk):
    wrong = []
    for some in batched(chosen[chunk::CHUNKS], PAGE):
        wrong += _played(account, base, whole, some)
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong[:40])


def _played(account, base, whole, some):
    """One page of mutants with a neighbour in good health before, among and after them."""
    stage = Stage(account)
    rows, healthy, unreadable = [], [], 0
    for n, mutation in enumerate(some):
        rows.append((mutation, mutation.of(base | {"id": f"cs_test_mutant{n}"})))
    for n, place in enumerate((0, len(rows) // 2, len(rows) + 2)):
        healthy.append(f"cs_test_healthy{n}")
        rows.insert(place, (None, base | {"id": healthy[-1]}))
    for _, row in rows:
        if is_id(row.get("id")):
            stage.stripe_says(row["id"], whole | {"id": row["id"]})
        else:
            unreadable += 1
    stage.stripe_lists([row for _, row in rows])
    stage.body()
    stage.drain()
    kept, run = kept_of(stage), stage.run()
    wrong = []
    for mutation, row in rows:
        if mutation and is_id(row.get("id")):
            said = wrongs_of(stage, kept, row["id"], whole, (*mutation.path, _wire(mutation.path[0])))
            wrong += [f"{mutation}: {one}" for one in said]
    lost = [name for name in healthy if kept.outcomes.get(name, {}).get("outcome") != "created"]
    wrong += [f"a neighbour is {kept.outcomes.get(name)}" for name in lost]
    warned = any(warning.startswith("unreadable") for warning in run["warnings"])
    covered = stage.state().get("lastCoveredThrough")
    if run["status"] != "done" or warned is not bool(unreadable) or (covered is None) is not bool(unreadable):
        wrong.append(f"{unreadable} unreadable; covered {covered}; the run is {run}")
    wrong += [line for line in stage.told.lines if "ERROR Unexpected " in line]
    by_id = any(mutation.path == ("id",) for mutation in some)
    return wrong if by_id else wrong + secrets_told(stage)


def _wire(name):
    first, *rest = str(name).split("_")
    return first + "".join(word.capitalize() for word in rest)


def test_a_hard_limit_counts_what_says_no_time_and_goes_by_its_neighbours(account, base, whole):
    stage = Stage(account)
    rows = [base | {"id": f"cs_test_{n}", "created": base["created"] - 60 * n} for n in range(4)]
    rows[2] |= {"created": None}
    for row in rows:
        stage.stripe_says(row["id"], whole | {"id": row["id"]})
    stage.stripe_lists(rows)
    body = stage.body({"maxSessions": 1})
    assert (body["enqueued"], body["truncated"]) == (1, True)
    assert stage.run(body["runId"])["cursor"] == rows[3]["created"] - 1


def test_a_preview_says_what_it_could_not_read_and_counts_the_others(account, base):
    stage = Stage(account)
    stage.stripe_lists(
        [base | {"id": "cs_test_a"}, {"object": "checkout.session"}, 7, base | {"id": "cs_test_b"}]
    )
    body = stage.body({"dryRun": True})
    assert body["created"] == 2
    assert [warning.partition(":")[0] for warning in body["warnings"]] == ["unreadable"]


def test_events_without_an_id_are_left_out(account, base, whole):
    stage = Stage(account)
    stage.stripe_says("cs_test_a", whole | {"id": "cs_test_a"})
    stage.stripe_lists([base | {"id": "cs_test_a"}])
    stage.scripted.events = [7, {}, {"id": "e" * 400_000, "type": "checkout.session.completed", "created": 1}]
    assert stage.night()["created"] == 1
    assert stage.outcome("cs_test_a", RUN)["outcome"] == "created"
