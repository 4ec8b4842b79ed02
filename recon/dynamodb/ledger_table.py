"""Checking that the ledger is in the table that the settings name."""

from recon.dynamodb.keys import STATE_KEY, WATERMARK_KEY
from recon.dynamodb.table import Table
from recon.dynamodb.watermark import MOVE_COMMAND, describe_moved, parse_watermark
from recon.errors import LedgerNotMoved
from recon.retry import Deadline


def check_ledger_table(table: Table, stack: str, deadline: Deadline) -> None:
    """Raise LedgerNotMoved if the ledger of this stack is not, or not completely, in the table of its own.

    The ledger of another stack may stay in the shop's table. A state that another program puts there does not
    matter once this stack uses its own ledger. No request is made if the ledger is in the shop's table.
    """
    if table.ledger == table.shop:
        return
    own = table.get(WATERMARK_KEY, deadline)
    parse_watermark(own or {}).check_open()
    found = table.at(table.shop).get_many([STATE_KEY, WATERMARK_KEY], deadline)
    items = {(item["PK"], item["SK"]): item for item in found}
    shop = parse_watermark(items.get(WATERMARK_KEY, {}))
    is_foreign_state = own is not None and WATERMARK_KEY not in items
    if not items or is_foreign_state or shop.stack_name not in (None, stack) or shop.moved_to == table.ledger:
        return
    if shop.moved_to:
        raise LedgerNotMoved(describe_moved(shop.moved_to))
    raise LedgerNotMoved(
        f"table {table.shop} holds the ledger, and SYNC_LEDGER_TABLE is {table.ledger}: move it there with "
        f"`{MOVE_COMMAND}`, or leave SYNC_LEDGER_TABLE empty"
    )
