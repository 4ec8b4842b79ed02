"""A table that keeps its transactions instead of sending them."""

from collections.abc import Callable, Sequence

from recon.dynamodb.table import Action, Table
from recon.retry import Deadline


class TransactionLog(Table):
    """A table that keeps the actions of every transaction."""

    def __init__(self) -> None:
        super().__init__(None, "shop")  # type: ignore[arg-type]  # no request is sent
        self.transactions: list[Sequence[Action]] = []

    def transact(
        self,
        actions: Sequence[Action],
        deadline: Deadline,  # noqa: ARG002 - the table's own signature
        check: Callable[[], None] | None = None,
    ) -> None:
        if check:
            check()
        self.transactions.append(actions)
