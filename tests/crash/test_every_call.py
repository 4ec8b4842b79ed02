"""Each external call of a batch and of a run: the process dies before it, dies after it, and it fails with
each error that its API can answer. The shop recovers from every one.

The calls are those that an undisturbed run makes, the errors those of the services' own models.
"""

import pytest

from tests.crash.replay import (
    CHUNKS,
    a_preview,
    chosen,
    one_batch,
    recorded,
    run_left_alone,
    the_next_night,
    the_queue_and_a_redrive,
    went_wrong,
    whole_run,
)
from tests.crash.verdict import of_a_preview

chunks = pytest.mark.parametrize("chunk", range(CHUNKS))


@pytest.mark.parametrize(("night", "act"), [("batch_night", one_batch), ("run_night", whole_run)])
def test_undisturbed_every_session_ends_as_it_has_to(request, night, act):
    night = request.getfixturevalue(night)
    assert the_queue_and_a_redrive(night, recorded(night, act)) == []


@chunks
def test_a_batch_recovers_from_whatever_happens_at_a_call(batch_night, cases, chunk):
    some = chosen(cases(batch_night, one_batch), chunk)
    assert not went_wrong(batch_night, one_batch, some, the_queue_and_a_redrive)


@chunks
def test_a_run_that_lambda_repeats_recovers_from_whatever_happens_at_a_call(run_night, cases, chunk):
    some = chosen(cases(run_night, whole_run), chunk)
    assert not went_wrong(run_night, whole_run, some, the_queue_and_a_redrive)


@chunks
def test_a_run_that_nobody_repeats_is_made_up_for_by_the_next_night(run_night, cases, chunk):
    some = chosen(cases(run_night, run_left_alone), chunk)
    assert not went_wrong(run_night, run_left_alone, some, the_next_night)


@chunks
def test_a_preview_writes_and_sends_nothing_whatever_happens_at_a_call(run_night, cases, chunk):
    some = chosen(cases(run_night, a_preview), chunk)
    assert not went_wrong(run_night, a_preview, some, of_a_preview)
