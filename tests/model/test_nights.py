"""Nights in which everything happens at once: the first few hundred of those that `make prove` plays."""

import os
import subprocess
import sys

import pytest

from tests.model.accidents import CALLS_OF
from tests.model.driver import BAD_NIGHTS, found, play, played_all, replay_command, story
from tests.model.tally import SERVICES, Tally

NIGHTS = 300
CALLS = {f"{SERVICES.get(name, 'dynamodb')}.{name}" for names in CALLS_OF.values() for name in names}
SOME_SEED = 7


@pytest.fixture(scope="module")
def tally():
    tally = Tally()
    for played in played_all(range(NIGHTS // BAD_NIGHTS)):
        tally.add(played)
    return tally


def test_no_night_breaks_an_invariant_and_every_paid_session_has_one_order_in_the_end(tally):
    assert not tally.wrong, "\n".join(map(found, tally.wrong))


def test_everything_that_can_happen_has_happened(tally):
    assert tally.never_happened() == []


def test_every_call_met_accidents(tally):
    """Each kind at each call takes more nights: `make prove` fails when one is missing."""
    assert CALLS - {call for call, _ in tally.met} == set()
    assert {"pause", "killed before", "killed after", "lost response"} <= {what for _, what in tally.met}


def test_accidents_are_meant_for_every_call_that_the_functions_make():
    """A call that nobody thought of would be one that never fails."""
    made = set()
    for seed in range(6):
        for _, words in play(seed).lines:
            made |= {word.strip("'[],") for word in words.split() if "." in word and "'" in word}
    services = {call.split(".")[0] for call in CALLS}
    assert {call for call in made if call.split(".")[0] in services} <= CALLS


def test_one_seed_is_one_history_in_every_process():
    """The order of sets differs from process to process; nothing may hang on it."""
    told = {_told_by_another_process(hash_seed) for hash_seed in ("1", "2")}
    assert told == {story(play(SOME_SEED)) + "\n"}


def _told_by_another_process(hash_seed):
    command = [sys.executable, *replay_command(SOME_SEED).split()[1:]]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
