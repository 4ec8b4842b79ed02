"""A made-up shop: its Stripe sessions, what its webhook wrote, and what a sync must do about each session."""

from testkit.shop.builder import MINIMUM_SESSIONS, make_shop, shop_from_json
from testkit.shop.records import (
    Record,
    build_event_record,
    build_recovered_order,
    build_session,
    build_webhook_order,
    clean_user_id,
    user_id,
)
from testkit.shop.seeding import seed_table
from testkit.shop.truth import Expected, RunCounters, Shop, ShopRecipe, Truth

__all__ = [
    "MINIMUM_SESSIONS",
    "Expected",
    "Record",
    "RunCounters",
    "Shop",
    "ShopRecipe",
    "Truth",
    "build_event_record",
    "build_recovered_order",
    "build_session",
    "build_webhook_order",
    "clean_user_id",
    "make_shop",
    "seed_table",
    "shop_from_json",
    "user_id",
]
