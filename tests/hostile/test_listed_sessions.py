"""Entries of a list as Stripe might send them one day: a bad one does not keep the others from being sent.

An entry without a readable id is reported by a warning of the run.
"""

from itertools import batched

import pytest

from recon.domain.message import is_id
from testkit.builders import RUN
from testkit.invariants import find_unexpected_errors
from tests.hostile.field_mutations import list_mutations
from tests.hostile.field_paths import list_session_paths
from tests.hostile.hostile_shop import HostileShop
from tests.hostile.verdict import check_secrets, check_session
from tests.proofs import PROVE_ALL

PAGE = 20
CHUNKS = 4
STRIDE = 11


@pytest.fixture
def shop(account):
    return HostileShop(account)


@pytest.fixture(scope="module")
def mutations(listed):
    """`id` and `created` with every value, since the listing depends on them, and a slice of the others."""
    paths = [path for path in list_session_paths() if path[0] in listed and len(path) <= 2]
    every = list_mutations(listed, paths)
    if PROVE_ALL:
        return every
    return [one for n, one in enumerate(every) if one.path in {("id",), ("created",)} or n % STRIDE == 0]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_mutated_entry_of_a_list_harms_no_other_entry(account, listed, fetched, mutations, chunk):
    wrong = []
    for part in batched(mutations[chunk::CHUNKS], PAGE):
        wrong += _check_page(HostileShop(account), listed, fetched, part)
    assert not wrong, f"{len(wrong)} wrong\n" + "\n".join(wrong[:40])


def _check_page(shop, listed, fetched, mutations):
    """Play one page of mutants with unchanged entries before, among and after them."""
    rows = [(one, one.apply(listed | {"id": f"cs_test_mutant{n}"})) for n, one in enumerate(mutations)]
    healthy = [f"cs_test_healthy{n}" for n in range(3)]
    for name, place in zip(healthy, (0, len(rows) // 2, len(rows) + 2), strict=True):
        rows.insert(place, (None, listed | {"id": name}))
    readable = [(mutation, row) for mutation, row in rows if is_id(row.get("id"))]
    for _, row in readable:
        shop.set_session(row["id"], fetched | {"id": row["id"]})
    shop.set_list([row for _, row in rows])
    shop.body()
    shop.drain()
    records, wrong = shop.records(), []
    for mutation, row in readable:
        if mutation:
            path = (*mutation.path, _to_camel_case(mutation.path[0]))
            wrong += [f"{mutation}: {one}" for one in check_session(shop, records, row["id"], fetched, path)]
    outcomes, run = records.outcomes[RUN], records.runs[RUN]
    lost = [name for name in healthy if outcomes.get(name, {}).get("outcome") != "created"]
    wrong += [f"a neighbour is {outcomes.get(name)}" for name in lost]
    has_unreadable = len(readable) < len(rows)
    is_warned = any(warning.startswith("unreadable") for warning in run["warnings"])
    is_uncovered = records.state.get("lastCoveredThrough") is None
    if run["status"] != "done" or is_warned is not has_unreadable or is_uncovered is not has_unreadable:
        wrong.append(f"unreadable: {has_unreadable}; covered: {not is_uncovered}; the run is {run}")
    wrong += find_unexpected_errors(shop.log.lines)
    has_mutated_id = any(mutation.path == ("id",) for mutation in mutations)
    return wrong if has_mutated_id else wrong + check_secrets(shop)


def _to_camel_case(name):
    first, *rest = str(name).split("_")
    return first + "".join(word.capitalize() for word in rest)


def test_limit_counts_entries_without_a_time(shop, listed, fetched):
    """Entries without a time count, and the cursor follows the time of their neighbours."""
    rows = [listed | {"id": f"cs_test_{n}", "created": listed["created"] - 60 * n} for n in range(4)]
    rows[2] |= {"created": None}
    for row in rows:
        shop.set_session(row["id"], fetched | {"id": row["id"]})
    shop.set_list(rows)
    body = shop.body({"maxSessions": 1})
    assert (body["enqueued"], body["truncated"]) == (1, True)
    assert shop.run(body["runId"])["cursor"] == rows[3]["created"] - 1


def test_dry_run_warns_of_unreadable_entries_and_counts_others(shop, listed):
    good = [listed | {"id": name} for name in ("cs_test_a", "cs_test_b")]
    shop.set_list([good[0], {"object": "checkout.session"}, 7, good[1]])
    body = shop.body({"dryRun": True})
    assert body["created"] == 2
    assert [warning.partition(":")[0] for warning in body["warnings"]] == ["unreadable"]


def test_unreadable_events_are_ignored(shop, listed, fetched):
    shop.set_session("cs_test_a", fetched | {"id": "cs_test_a"})
    shop.set_list([listed | {"id": "cs_test_a"}])
    shop.scripted.events = [7, {}, {"id": "e" * 400_000, "type": "checkout.session.completed", "created": 1}]
    assert shop.night()["created"] == 1
    assert shop.outcome("cs_test_a", RUN)["outcome"] == "created"
