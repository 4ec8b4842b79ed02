"""A preview on this machine, with the operator's own credentials, before anything is deployed."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from producer.dry_run import DryRun
from producer.planned_run import plan_run
from producer.proof import check_proof
from producer.request import Request, parse_request
from producer.response import build_preview
from recon.dynamodb.runs import Runs
from recon.dynamodb.table import Item, Key, Table
from recon.dynamodb.watermark import Watermark

if TYPE_CHECKING:
    from ops.runs.invocation import ProducerAnswer, RunEvent
    from recon.config import Settings
    from recon.retry import Deadline
    from recon.stripe.source import StripeSource

_NAME = "preview"


class TableWithoutLedger(Table):
    """The shop's table before the sync has a ledger, which reads as an empty one."""

    def get(self, key: Key, deadline: "Deadline | None" = None) -> Item | None:  # noqa: ARG002 - as in Table
        """Return None."""
        return None

    def get_many(self, keys: Any, deadline: "Deadline") -> list[Item]:  # noqa: ANN401, ARG002 - as in Table
        """Return no item."""
        return []

    def query(self, *_: object, **__: object) -> Iterator[Item]:
        """Return no item."""
        return iter(())


@dataclass(frozen=True)
class LocalPreview:
    """The dependencies of a preview. `now` returns epoch seconds."""

    settings: "Settings"
    table: Table
    stripe: "Callable[[], StripeSource]"
    pool: Executor
    deadline: "Deadline"
    now: Callable[[], int]

    @property
    def runs(self) -> Runs:
        """Return the records of earlier runs."""
        return Runs(self.table, self.deadline)

    def predict(self, event: "RunEvent") -> "ProducerAnswer":
        """Return the answer of a deployed producer to the event of a dry run. Write nothing."""
        request = parse_request(event)
        assert isinstance(request, Request)  # noqa: S101 - the event of a run, not of its continuation
        watermark = Watermark() if isinstance(self.table, TableWithoutLedger) else self.runs.watermark()
        started = self.now()
        run = plan_run(request, self.settings, started, request.run_id(started, _NAME), watermark)
        dry_run = DryRun(self.settings, self.table, self.stripe, self.pool, self.deadline, self.now)
        predicted = dry_run.predict(run, request.max_sessions)
        body = build_preview(predicted, has_shape=self.settings.shape is not None)
        if warning := check_proof(self, watermark).warning:
            body["warnings"] = [*body["warnings"], warning]
        return body
