"""The pace of one invocation of the producer, which keeps the lease of its listing."""

from collections.abc import Callable

from recon.domain.run import RunStatus
from recon.dynamodb.keys import STATE_KEY
from recon.dynamodb.listing_lease import LEASE_SECONDS, Lease, take_lease
from recon.dynamodb.records import State, parse_state
from recon.dynamodb.table import Table
from recon.errors import SyncError
from recon.retry import Deadline
from recon.stripe.pace import ANNOUNCED_SECONDS, EARLY_SHARE, LISTING_SHARE, SPARE_SHARE
from recon.timestamps import MINUTE

RENEW_SECONDS = 20


class ListingPace:
    """The share of the allowed rate that a run may use now; thread-safe under the lock of its rate limiter.

    `run_id` returns the id of the run. `now` returns epoch seconds.
    """

    def __init__(
        self,
        table: Table,
        run_id: Callable[[], str],
        requests_per_second: float,
        now: Callable[[], float],
        deadline: Deadline,
    ) -> None:
        self._table = table
        self._run_id = run_id
        self._early = max(1, int(requests_per_second * MINUTE * EARLY_SHARE))
        self._now = now
        self._deadline = deadline
        self._until = 0
        self._renew_at = float("-inf")
        self._announced_at = float("-inf")
        self._left = 0
        self._is_dry = False
        self._is_known = False

    def remember(self, before: State) -> None:
        """Take over the state before this invocation, since consumers know of a listing that it continues."""
        self._is_known = self._is_leased(before, self._now())

    def write_nothing(self) -> None:
        """Announce nothing, since a dry run writes nothing, and stay out of the way of runs."""
        self._is_dry = True

    def share(self) -> float:
        """Return the share, after a wait if the consumers may not know of a large listing yet."""
        now = self._now()
        if now >= self._renew_at:
            self._renew(now)
        if now >= self._until:
            return SPARE_SHARE
        if (wait := self._announced_at + ANNOUNCED_SECONDS - now) > 0:
            if self._left <= 0:
                self._deadline.sleep(wait)
            self._left -= 1
        return LISTING_SHARE

    def _renew(self, now: float) -> None:
        self._renew_at = now + RENEW_SECONDS
        lease = Lease(int(now) + LEASE_SECONDS, self._run_id())
        try:
            if now < self._until and not self._is_dry:
                self._until = lease.until if take_lease(self._table, lease, int(now), self._deadline) else 0
                return
            state = parse_state(self._table.get(STATE_KEY, self._deadline))
            if self._is_dry:
                is_busy = state.status == RunStatus.RUNNING or state.lease.until > now
                self._until = 0 if is_busy else lease.until
                return
            # The start of the run has taken the lease already, unless a later run has the state.
            is_taken = self._is_leased(state, now) or take_lease(self._table, lease, int(now), self._deadline)
        except SyncError:
            return
        self._until = lease.until if is_taken else 0
        if not self._is_known:
            self._announced_at, self._left = self._now(), self._early
        self._is_known = False

    def _is_leased(self, state: State, now: float) -> bool:
        return state.lease.run_id == self._run_id() and state.lease.until > now
