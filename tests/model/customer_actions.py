"""What customers do, and what the webhook hears of it."""

import random

from tests.model.customers import Sale, Told
from tests.model.stage import Stage
from tests.simulation.plans import Fate


class CustomerActions(Stage):
    def opens(self, rng: random.Random) -> bool:
        sale = self.customers.opens(rng, self.now)
        self._did("opens", sale.id)
        return True

    def completes(self, rng: random.Random) -> bool:
        return self._one_of(rng, self.customers.open_at(self.now), self._completes)

    def _completes(self, sale: Sale) -> None:
        self.customers.completes(sale, self.now)
        self._did("completes", f"{sale.id}, {sale.spec.payment_status}")

    def settles(self, rng: random.Random) -> bool:
        return self._one_of(rng, self.customers.waiting_for_payment(), self._settles)

    def _settles(self, sale: Sale) -> None:
        self.customers.settles(sale, self.now)
        self._did("settles", sale.id)

    # The webhook

    def hears(self, rng: random.Random) -> bool:
        """Soon, late, or again after a try that was not acknowledged."""
        fate = rng.choice((Fate.WRITES, Fate.WRITES, Fate.FAILS, Fate.SWALLOWED, Fate.LOST))
        return self._one_of(rng, self.customers.deliverable(self.now), lambda told: self._hears(told, fate))

    def _hears(self, told: Told, fate: Fate) -> None:
        words = self.webhook.receives(told.event, told.spec, fate)
        if fate is not Fate.LOST:
            self.customers.in_flight.remove(told)
        if fate in (Fate.WRITES, Fate.FAILS):
            self.customers.handled.append(told)
        self._did(f"webhook {fate}", f"{told.event.type} of {told.spec.id} {words}")

    def hears_twice(self, rng: random.Random) -> bool:
        def again(told: Told) -> None:
            words = self.webhook.receives(told.event, told.spec, Fate.WRITES)
            self._did("webhook twice", f"{told.event.type} of {told.spec.id} {words}")

        return self._one_of(rng, self.customers.handled, again)
