"""Checking that the ledger is in the table that the settings name."""

from collections.abc import Mapping

from recon.dynamodb.keys import STATE_KEY, WATERMARK_KEY
from recon.dynamodb.table import Item, Key, Table
from recon.dynamodb.watermark import MOVE_COMMAND, parse_watermark
from recon.errors import LedgerNotMoved, TableRefused
from recon.retry import Deadline


def check_ledger_table(table: Table, stack: str, deadline: Deadline) -> None:
    """Raise LedgerNotMoved if the ledger of this stack is not, or not completely, in its separate table.

    No request is made if the ledger is in the shop's table.
    """
    if table.ledger == table.shop:
        return
    try:
        found = table.at(table.shop).get_many([STATE_KEY, WATERMARK_KEY], deadline)
    except TableRefused:
        # The table has other keys than PK and SK, so no ledger was ever in it.
        found = []
    shop_items = {(item["PK"], item["SK"]): item for item in found}
    check_ledger_items(table.shop, table.ledger, stack, table.get(WATERMARK_KEY, deadline), shop_items)


def check_ledger_items(
    shop: str, ledger: str, stack: str, own: Item | None, shop_items: Mapping[Key, Item]
) -> None:
    """Raise LedgerNotMoved as `check_ledger_table` does, for items that were read.

    `shop` and `ledger` are the names of the two tables, `own` is the watermark item of the ledger, and
    `shop_items` are the state and the watermark in the shop's table. The ledger of another stack may stay
    there, and a state that another program puts there does not matter once this stack uses its own ledger.
    A move back to the shop's table that has only reserved it leaves the ledger open.
    """
    parse_watermark(own or {}).check_open()
    at_shop = parse_watermark(shop_items.get(WATERMARK_KEY, {}))
    is_foreign_state = own is not None and WATERMARK_KEY not in shop_items
    is_of_another_stack = at_shop.stack_name not in (None, stack)
    is_named = (at_shop.moved_to or at_shop.moving_from) == ledger
    if not shop_items or is_foreign_state or is_of_another_stack or is_named:
        return
    at_shop.check_open()
    raise LedgerNotMoved(
        f"table {shop} holds the ledger, and SYNC_LEDGER_TABLE is {ledger}: move it there with "
        f"`{MOVE_COMMAND}`, or leave SYNC_LEDGER_TABLE empty"
    )
