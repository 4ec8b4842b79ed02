"""What becomes of sessions that wait for their payment, and of what a person has to look at."""

from collections.abc import Iterator

from recon.dynamodb.attention import acknowledge, parse_attention
from recon.dynamodb.dismissals import dismiss_session
from recon.dynamodb.keys import attention_key
from recon.timestamps import DAY, HOUR, MINUTE, parse_epoch
from testkit.invariants import ORDER_SAYS_UNPAID
from testkit.shop import Record, build_recovered_order, user_id
from tests.model.customer_actions import WEEK, CustomerActions
from tests.model.customers import Sale

GRACE = 10 * MINUTE
PENDING = "PENDING#"
# As docs/architecture.md says: every night at first, then once a week, and no longer than that.
NIGHTLY, WEEKLY, LONGEST_WAIT = 30 * DAY, 7 * DAY - 12 * HOUR, 400 * DAY


class WaitingActions(CustomerActions):
    """Actions of a person and of Stripe on waiting sessions, and the truth about who still waits."""

    def let_others_act(self) -> None:
        """Let a person see what is open now and then, or Stripe delete a session that waits."""
        super().let_others_act()
        draw = self._waiting.random()
        # An invocation that has read the item or the session would not know of it.
        if not self.paused and draw < 0.01:
            self._acknowledge()
        elif not self.paused and draw > 0.97:
            self._delete_session()
        elif not self.paused and draw > 0.93 and self.config.has_own_layout:
            self._end_missing()

    def _acknowledge(self) -> None:
        open_items = [item for item in self._list_attention() if "acknowledgedBy" not in item]
        if open_items:
            item = self._waiting.choice(open_items)
            table = self.world.open_table()
            assert acknowledge(
                table, parse_attention(item), "owner", self.now, self.world.clock.deadline(MINUTE)
            )
            self._log("attention acknowledged", f"{item['SK']} {item['words']}")

    def _list_attention(self) -> list[Record]:
        records = self.checks.records
        found = (records.get(*attention_key(session_id)) for session_id in sorted(self.customers.sales))
        return [item for item in found if item]

    def _delete_session(self) -> None:
        """Let Stripe delete a session that waits, once another proves account and mode of the key.

        It is older than any further window, since a run asks for no session that its list would have.
        """
        records = self.checks.records
        messages, proof = self.world.read_bodies(), records.watermark.get("provenBy")
        covered = records.watermark.get("lastCoveredThrough", 0)
        waiting = [
            sale
            for sale in self.customers.list_unpaid()
            if sale.id in records.pending
            # As of canceled payments: one that takes weeks arrives, since there are few of them.
            and (sale.pays_after or 0) < WEEK
            and sale.id != proof
            and not any(sale.id in body for body in messages)
        ]
        if waiting and proof and not self.neighbour:
            sale = self._waiting.choice(waiting)
            if sale.spec.created < covered - 2 * DAY:
                self.customers.delete(sale)
                self._log("session deleted by Stripe", sale.id)

    def _end_missing(self) -> None:
        """Let a person dismiss or refund a session whose order is missing."""
        missing = [
            sale
            for sale in self.customers.sales.values()
            if self.is_missing(sale) and sale.id in self.checks.records.pending
        ]
        if not missing:
            return
        sale = self._waiting.choice(missing)
        if self._waiting.random() < 0.5 and sale.spec.payment_status == "paid":
            self.customers.refund(sale)
            self._log("missing order refunded", sale.id)
            return
        sale.is_removed = True
        deadline = self.world.clock.deadline(MINUTE)
        dismiss_session(self.world.open_table(), sale.id, "owner", "sold out", self.now, deadline)
        self._log("missing order dismissed", sale.id)

    def is_missing(self, sale: Sale) -> bool:
        """Return whether a shop with its own layout has not done the order of a paid session."""
        return self.config.has_own_layout and sale.wants_order and sale.id not in self.webhook.done

    def list_waiting(self) -> set[str]:
        """Return the sessions that must have a pending entry when all is at rest."""
        return {sale.id for sale in self.customers.sales.values() if self._must_wait(sale)}

    def _must_wait(self, sale: Sale) -> bool:
        """Return whether a session may still become an order, or its unpaid order is still to be seen."""
        spec, age = sale.spec, self.now - sale.spec.created
        if spec.mode == "setup" or user_id(spec) is None or sale.is_foreign:
            return False
        if self.is_missing(sale):
            return True
        if sale.is_unpaid:
            return age < (NIGHTLY if spec.intent_status == "requires_payment_method" else LONGEST_WAIT)
        is_open = self._is_paid_with_unpaid_order(sale) and not self._is_unpaid_order_seen(sale)
        return is_open and age < LONGEST_WAIT

    def _is_unpaid_order_seen(self, sale: Sale) -> bool:
        """Return whether a person has acknowledged that the order of a session says unpaid."""
        item = self.checks.records.get(*attention_key(sale.id)) or {}
        return "acknowledgedBy" in item and ORDER_SAYS_UNPAID in item["words"]

    def _is_paid_with_unpaid_order(self, sale: Sale) -> bool:
        statuses = {order["stripePaymentStatus"] for order in self.checks.records.read_orders(sale.id)}
        return sale.spec.payment_status == "paid" and statuses == {"unpaid"}

    def is_untold(self, sale: Sale) -> bool:
        """Return whether no run has yet found that a paid session's order says unpaid."""
        item = self.checks.records.get(*attention_key(sale.id)) or {}
        return self._is_paid_with_unpaid_order(sale) and ORDER_SAYS_UNPAID not in item.get("words", ())

    def list_words(self) -> dict[str, set[str]]:
        """Return what a person has to look at about each session when all is at rest.

        A delayed payment without a user is left out: it depends on when a run examined it.
        """
        return {
            sale.id: {word for word, applies in self._find_words(sale) if applies}
            for sale in self.customers.sales.values()
            if not sale.is_foreign and (user_id(sale.spec) is not None or sale.pays_after is None)
        }

    def _find_words(self, sale: Sale) -> Iterator[tuple[str, bool]]:
        spec, age = sale.spec, self.now - sale.spec.created
        is_sale = spec.status == "complete" and spec.mode != "setup"
        has_user, has_order = user_id(spec) is not None, bool(self.checks.records.read_orders(sale.id))
        is_held, is_failed = (
            spec.intent_status == status for status in ("requires_capture", "requires_payment_method")
        )
        waits = is_sale and has_user and sale.is_unpaid
        is_nobodys = not has_user and not self.config.has_own_layout
        yield "no_user_paid", is_sale and is_nobodys and spec.payment_status == "paid"
        yield "missing", self.is_missing(sale)
        yield "gone", sale.is_gone
        yield "gave_up_waiting", waits and not is_failed and age >= LONGEST_WAIT
        yield "awaiting_capture", waits and is_held and not has_order and age < LONGEST_WAIT
        # An acknowledgement ends the wait, so that no run may see the order say paid afterwards.
        is_seen = self._is_unpaid_order_seen(sale)
        yield ORDER_SAYS_UNPAID, is_seen or self._is_paid_with_unpaid_order(sale)
        # The guard of an order that another stack wrote has the id of that stack's run.
        guard = self.checks.records.get(f"SESSION#{sale.id}", "SYNC_ORDER")
        if guard and guard["syncRunId"] in self.checks.records.runs:
            yield from ((word, True) for word in build_recovered_order(spec).get("attention", ()))

    def list_due(self, at: int) -> frozenset[str]:
        """Return the waiting sessions that the run of a night has to check."""
        return frozenset(self._find_due(at - GRACE))

    def _find_due(self, night: int) -> Iterator[str]:
        for session_id in self.checks.records.pending:
            entry = self.checks.records.get("SYSTEM", PENDING + session_id) or {}
            age = night - self.customers.sales[session_id].spec.created
            checked = parse_epoch(entry["updatedAt"])
            if age < NIGHTLY or age >= LONGEST_WAIT or night - checked >= WEEKLY:
                yield session_id

    def expire_entries(self) -> None:
        """Delete the pending entries whose time-to-live has passed, as DynamoDB does."""
        for session_id in sorted(self.checks.records.pending):
            pk, sk = "SYSTEM", PENDING + session_id
            entry = self.checks.records.get(pk, sk) or {}
            if entry["expiresAt"] <= self.now:
                key = {"PK": {"S": pk}, "SK": {"S": sk}}
                self.world.memory.delete_item(TableName=self.world.ledger, Key=key)
