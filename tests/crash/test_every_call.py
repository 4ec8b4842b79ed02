"""Each external call of a batch and of a run fails in every way, and the shop recovers.

The process dies before the call, dies after it, and the call fails with each error that its API can return.
The calls are those of a run without faults, the errors those of the services' own models.
"""

import pytest

from tests.crash import verdict
from tests.crash.replay import (
    CHUNKS,
    choose_cases,
    consume_batch,
    produce_with_retries,
    produce_without_retries,
    record_run,
    recover_by_next_night,
    recover_by_redrive,
    report_failures,
    run_dry,
)


@pytest.mark.parametrize(
    ("start", "act"), [("batch_start", consume_batch), ("run_start", produce_with_retries)]
)
def test_run_without_faults_is_right(request, start, act):
    start = request.getfixturevalue(start)
    assert recover_by_redrive(start, record_run(start, act)) == []


@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize(
    ("start", "act", "check"),
    [
        ("batch_start", consume_batch, recover_by_redrive),
        ("run_start", produce_with_retries, recover_by_redrive),
        ("run_start", produce_without_retries, recover_by_next_night),
        ("run_start", run_dry, verdict.check_dry_run),
    ],
    ids=["batch", "run with retries", "run without retries", "dry run"],
)
def test_shop_recovers_from_every_fault(request, cases, start, act, check, chunk):
    some = choose_cases(cases(start, act), chunk)
    assert not report_failures(request.getfixturevalue(start), act, some, check)
