"""Stories that the model found, told by themselves: a seed is a story only as long as the driver stays."""

import random

from tests.model.accidents import PAUSE
from tests.model.model_world import Shape
from tests.model.night_shop import night_shop
from tests.model.verdict import wrong_at_rest
from tests.simulation.history import iso
from tests.simulation.plans import HOUR, night
from tests.world import KEY


def test_a_first_scheduled_run_that_is_overtaken_while_it_begins_and_fails_is_made_up_for():
    """Another run held the state when its record was made, so nobody remembered where it had begun."""
    rng = random.Random(1)
    with night_shop(0, Shape()) as shop:
        sale = shop.customers.opens(rng, shop.now)
        shop.waits(HOUR)
        shop.customers.completes(sale, shop.now)
        assert sale.wants_order
        shop.world.clock.now = night(0)
        shop.nights = 1
        shop.invokes({"trigger": "scheduled", "scheduledTime": iso(night(0))}, {("get_item", 1): PAUSE})
        shop.waits(1)
        shop.invokes({"lookbackHours": 1}, {})
        shop.world.account.keys = {"sk_test_other"}
        shop.goes_on(rng)
        shop.waiting.clear()
        shop.world.account.keys = {KEY}
        shop.comes_to_rest(rng)
        assert wrong_at_rest(shop) == []
