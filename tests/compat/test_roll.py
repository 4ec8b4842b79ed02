"""A run that begins with one version and ends with another: rolled forward, back, and forward again.

The earlier version is the real one, from this repository's history.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from recon.timestamps import DAY
from testkit.builders import NOW, RUN, TABLE
from testkit.invariants import (
    TableRecords,
    check_run_done,
    compare_counters,
    compare_pending,
    compare_state,
    find_changed_items,
    find_missing_orders,
    find_surplus_orders,
    find_unfinished_runs,
    to_plain,
)
from tests.compat.roll import LATE, NIGHTS, list_sessions
from tests.proofs import PROVE_ALL

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("roll.py")
# Before the watermark had its own item, orders had guards, and sessions could be dismissed.
EARLIER = "7f28935536173c275c1d84f5367812f5aa1ad5f1"
STEPS = ("begin", "go_on", "finish")
# The versions that take these steps.
ORDERS = [
    ("earlier", "this", "this"),
    ("this", "earlier", "this"),
    ("earlier", "earlier", "this"),
    ("earlier", "this", "earlier"),
    ("this", "this", "earlier"),
]
GRACE = 600


@pytest.fixture(scope="session")
def earlier(tmp_path_factory):
    """Return the source tree of the earlier version."""
    packed = subprocess.run(
        ["git", "archive", EARLIER], cwd=ROOT, capture_output=True, check=False, env=os.environ
    )
    if packed.returncode:
        pytest.skip(f"the history with {EARLIER} is not here")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def take(tmp_path, earlier):
    """Take a step of the night with one of the versions, and return the state after it."""

    def run(version, step):
        tree = earlier if version == "earlier" else ROOT
        state = tmp_path / "state.json"
        done = subprocess.run(
            [sys.executable, str(SCRIPT), step, str(state)],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(state.read_text())

    return run


@pytest.mark.parametrize("versions", ORDERS if PROVE_ALL else ORDERS[:2], ids="-".join)
def test_run_ends_with_another_version_than_it_began(take, versions):
    states = [take(version, step) for version, step in zip(versions, STEPS, strict=True)]
    for under_way in states[:2]:
        assert under_way["queue"]
        assert records_of(under_way).runs[RUN]["status"] == "running"
    assert states[0]["hops"]
    written = [
        item
        for key, item in records_of(states[0]).items.items()
        if key[0].startswith("USER#") and "source" not in item
    ]
    # The earlier version cannot continue a listing in parts: the run fails, and the next night does its rest.
    is_taken_back = "earlier" in versions[versions.index("this") :] and versions[0] == "this"
    assert check(states[2], written, "failed" if is_taken_back else "done") == []


def records_of(state):
    return TableRecords(json.loads(state["tables"][0])[TABLE])


def check(state, written, status):
    records = records_of(state)
    sold = {spec.id: 1 for spec in list_sessions(late_is_paid=True)}
    found = [
        *find_changed_items(records, written),
        *find_missing_orders(records, sold),
        *find_surplus_orders(records, sold),
        *find_unfinished_runs(records),
        *(check_run_done(records, RUN, len(sold)) if status == "done" else ()),
        *(wrong for run_id in records.runs for wrong in compare_counters(records, run_id)),
        *compare_state(records),
        *compare_pending(records, []),
    ]
    if records.runs[RUN]["status"] != status:
        found.append(f"the run is {records.runs[RUN]['status']} and not {status}")
    messages = [*state["queue"], *state["dead"], *state["hops"]]
    covered = NOW + (NIGHTS - 1) * DAY - GRACE
    if records.state.get("lastCoveredThrough") != covered:
        found.append(f"the watermark is {records.state.get('lastCoveredThrough')} and not {covered}")
    late = [to_plain(item) for item in records.orders[LATE].values()]
    if [order.get("source") for order in late] != ["nightly_sync"]:
        found.append("the session that was paid late has no order of the sync")
    return [*map(str, found), *messages]
