"""A shop that gets a separate ledger table: refused before the move, at work after it."""

import pytest

from sandbox.stack import InvocationError
from testkit.world import confirm_table
from tests.e2e.operator_cli import Cli

pytestmark = pytest.mark.e2e


@pytest.fixture
def shop(open_brief_shop):
    return open_brief_shop(LedgerTable="create", ConsumerTimeout=10)


def test_run_is_refused_until_the_ledger_has_moved(shop, tmp_path):
    cli, night = Cli(shop.stack, tmp_path), shop.night()
    sold, given_up = night.sells("sold"), night.sells("given_up")
    client = shop.stack.client("dynamodb")
    key = {"PK": {"S": "SYSTEM"}, "SK": {"S": "STRIPE_SYNC_WATERMARK"}}
    client.delete_item(TableName=shop.stack.ledger, Key=key)
    confirm_table(client, shop.stack.table)
    # Records that an earlier version left in the shop's table.
    for item in (
        {"SK": {"S": "STRIPE_ORDER_SYNC"}, "lastCoveredThrough": {"N": str(night.end - 86400)}},
        {"SK": {"S": f"DISMISSED#{given_up.id}"}, "dismissedBy": {"S": "jane"}},
    ):
        client.put_item(TableName=shop.stack.table, Item={"PK": {"S": "SYSTEM"}} | item)
    with pytest.raises(InvocationError, match="`nightly-sync ledger move`"):
        night.produce()
    moved = cli.data("ledger", "move")
    assert (moved["written"], moved["wasMoved"]) == (1, False)
    assert night.play() == (2, 2, 1, 1, 0)
    assert shop.have_one_order_each([sold])
    assert night.outcome(given_up)["reason"] == "dismissed"
    assert cli("show", night.run_id).code == 0
    assert cli.data("ledger", "move")["wasMoved"]
