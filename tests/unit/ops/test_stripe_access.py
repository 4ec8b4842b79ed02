"""The connection to Stripe that operator commands share."""

from ops.stack.stripe_access import StripeAccess, key_livemode


def test_stripe_access_connects_once_and_reads_the_mode(world):
    with StripeAccess(world.settings, lambda: world.ssm, world.clock.deadline(3600)) as access:
        assert access.source() is access.source()
        assert access.livemode() is False


def test_key_livemode_reads_the_prefix():
    prefixes = ("rk_live_x", "sk_live_x", "sk_test_x", "ek_other")
    assert [key_livemode(prefix) for prefix in prefixes] == [True, True, False, None]
