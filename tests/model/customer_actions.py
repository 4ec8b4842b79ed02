"""The actions of customers, and the deliveries of Stripe's events to the webhook."""

import random

from recon.dynamodb.keys import attention_key
from recon.timestamps import DAY
from testkit.fake_stripe.store import COMPLETED
from testkit.invariants import to_wire
from testkit.shop import Record
from tests.model.base_shop import BaseShop
from tests.model.customers import Sale, SentEvent
from tests.model.ledger_checks import ACCOUNT, is_from_sync
from tests.model.webhook import CLAIM_SECONDS, Handling

WEEK = 7 * DAY


class CustomerActions(BaseShop):
    """Actions of customers. Each returns whether there was anything to act on."""

    def open_sessions(self, rng: random.Random) -> bool:
        """Open one session, or now and then several in the same second."""
        for _ in range(rng.choice((1, 1, 1, 1, 3))):
            sale = self.customers.open_session(rng, self.now)
            self._log("session opened", sale.id)
            self.webhook.open_order(sale.spec)
        return True

    def complete_session(self, rng: random.Random) -> bool:
        return self._act_on_one(rng, self.customers.list_open(self.now), self._complete)

    def _complete(self, sale: Sale) -> None:
        self.customers.complete(sale, self.now)
        self._log("session completed", f"{sale.id}, {sale.spec.payment_status}, {sale.payment}")
        if sale.payment and sale.pays_after is None:
            self._log("money returned" if sale.is_returned else "payment needs a person", sale.id)

    def settle_payment(self, rng: random.Random) -> bool:
        return self._act_on_one(rng, self.customers.list_due(self.now), self._settle)

    def _settle(self, sale: Sale) -> None:
        days = (self.now - (sale.spec.completion or self.now)) // (24 * 3600)
        if sale.spec.intent_status == "requires_capture":
            self._log("hold captured", sale.id)
        self.customers.settle(sale, self.now)
        after = "" if days < 7 else " after weeks" if days < 30 else " after months"
        self._log(f"payment settled{after}", f"{sale.id}, {days} days")

    def cancel_payment(self, rng: random.Random) -> bool:
        """Cancel a payment. One that takes weeks arrives, since there are few of them."""
        unpaid = self.customers.list_unpaid()
        return self._act_on_one(rng, [s for s in unpaid if (s.pays_after or 0) < WEEK], self._cancel)

    def _cancel(self, sale: Sale) -> None:
        how = "hold released" if sale.spec.intent_status == "requires_capture" else "payment canceled"
        self.customers.cancel(sale)
        self._log(how, sale.id)

    def expire_sessions(self) -> None:
        for sale in self.customers.expire(self.now):
            self._log("session expired", sale.id)

    def deliver_event(self, rng: random.Random) -> bool:
        """Deliver an event soon, late, or again after an attempt that was not acknowledged."""
        handling = rng.choice(
            (Handling.WRITES, Handling.WRITES, Handling.FAILS, Handling.SWALLOWED, Handling.LOST)
        )
        deliverable = self.customers.list_deliverable(self.now)
        return self._act_on_one(
            rng, deliverable, lambda sent: self._deliver(sent, self._vary(sent, handling))
        )

    def _vary(self, sent: SentEvent, handling: Handling) -> Handling:
        """Let a webhook that writes acknowledge first now and then, or claim a young event first."""
        draw = self._people.random()
        if handling is not Handling.WRITES or draw > 0.5:
            return handling
        is_young = self.now < sent.event.created + CLAIM_SECONDS
        return Handling.CLAIMS if is_young and draw < 0.3 else Handling.ACKNOWLEDGES

    def let_others_act(self) -> None:
        """Let a webhook do its work now and then, or people delete or claim orders that the sync wrote."""
        backlog, draw = self.webhook.backlog, self._people.random()
        if backlog and draw < 0.3:
            number = self._people.randrange(len(backlog))
            session = backlog[number][1]
            self._log("webhook works", f"{session.id} {self.webhook.work(number)}")
        elif draw > 0.98:
            self._delete_order()
        if self._accounts.random() > 0.98:
            self._claim_order()

    def _delete_order(self) -> None:
        """Let a person delete an order that the sync wrote, as after a fraud."""
        if orders := self._list_recovered():
            order = self._people.choice(orders)
            self.customers.sales[order["orderId"]].is_removed = True
            self.removed[order["syncRunId"]] += 1
            self._remove(order)
            self._log("order deleted", order["orderId"])

    def _claim_order(self) -> None:
        """Let a guest who makes an account take an order along, which no session names."""
        if orders := self._list_recovered():
            order = self._accounts.choice(orders)
            self.customers.sales[order["orderId"]].is_claimed = True
            self._remove(order)
            item = to_wire(order | {"PK": f"{ACCOUNT}{self._accounts.randrange(3)}"})
            self.world.memory.put_item(TableName=self.world.table, Item=item)
            self._log("order claimed", order["orderId"])

    def _list_recovered(self) -> list[Record]:
        """Return the orders that the sync wrote, unless another stack would write them once more."""
        if self.neighbour:
            return []
        records = self.checks.records
        orders = (order for session_id in self.customers.sales for order in records.read_orders(session_id))
        return [order for order in orders if is_from_sync(order)]

    def _remove(self, order: Record) -> None:
        key = {"PK": {"S": order["PK"]}, "SK": {"S": order["SK"]}}
        self.world.memory.delete_item(TableName=self.world.table, Key=key)

    def _deliver(self, sent: SentEvent, handling: Handling) -> None:
        was_missing = self._read_words(sent.spec.id) == ["missing"] and sent.spec.id not in self.webhook.done
        result = self.webhook.receive(sent.event, sent.spec, handling)
        if was_missing and sent.spec.id in self.webhook.done:
            self._log("missing order done", sent.spec.id)
        if handling is not Handling.LOST:
            self.customers.in_flight.remove(sent)
        if handling is not Handling.LOST:
            self.customers.handled.append(sent)
        self._log(f"webhook {handling}", f"{sent.event.type} of {sent.spec.id} {result}")
        if len(self.webhook.unpaid) > self.happened["order written unpaid"]:
            self._log("order written unpaid", sent.spec.id)

    def _read_words(self, session_id: str) -> list[str]:
        item = self.checks.records.get(*attention_key(session_id)) or {}
        return list(item.get("words", ()))

    def repeat_event(self, rng: random.Random) -> bool:
        """Deliver an event again that was acknowledged, as a person at Stripe can.

        The event of a late payment is not repeated if its webhook died or never received it: a subscription's
        charge does not say when that payment settled, so that the page of events around it may not show the
        event, and nothing else names it.
        """

        def deliver_again(sent: SentEvent) -> None:
            if sent.event.type != COMPLETED and not self.webhook.has_handled(sent.event):
                return
            result = self.webhook.receive(sent.event, sent.spec, Handling.WRITES)
            self._log("webhook repeated", f"{sent.event.type} of {sent.spec.id} {result}")

        return self._act_on_one(rng, self.customers.handled, deliver_again)
