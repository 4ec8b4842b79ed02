"""A file, checked as a deployment checks it and tried with the lookup of the functions. Writes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ops.errors import CommandError
from ops.layout.shape.subjects import Subject
from producer.sample import read_message
from recon.domain.shape import Shape, parse_shape, strip_comments
from recon.domain.shape_decision import find_skip_reason
from recon.domain.shape_keys import check_keys
from recon.dynamodb.order_lookup import ShapeLookup
from recon.errors import ConfigError, SyncError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from recon.config import Settings
    from recon.dynamodb.table import Table
    from recon.retry import Deadline


@dataclass(frozen=True)
class Verified:
    """The ids of the sessions whose order the lookup finds done, finds open or does not find.

    For those in `no_key` the key cannot be made. The status of those in `by_person` is in neither list.
    """

    found: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    no_key: tuple[str, ...] = ()
    by_person: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verifier:
    """The table and the settings that the lookup uses."""

    table: "Table"
    description: Mapping[str, Any]
    settings: "Settings"
    pool: "Executor"
    deadline: "Deadline"

    def verify(self, text: str, subjects: Sequence[Subject]) -> Verified:
        """Return what the file finds.

        Raise CommandError for a wrong file, and the error of a failed lookup.
        """
        try:
            shape = parse_shape(strip_comments(text))
            check_keys(shape, self.description)
        except ConfigError as error:
            raise CommandError(str(error)) from error
        settings = replace(self.settings, shape=shape)
        messages = {
            one.session_id: message for one in subjects if (message := read_message(one.session, settings))
        }
        keyed = {name: one for name, one in messages.items() if find_skip_reason(one, shape) is None}
        done = self._look_up(shape, keyed)
        present = self._look_up(replace(shape, done=None, open=None), keyed)
        return Verified(
            found=tuple(name for name, orders in done.items() if orders),
            open=tuple(name for name, orders in present.items() if orders and not done[name]),
            absent=tuple(name for name, orders in present.items() if not orders),
            no_key=tuple(one.session_id for one in subjects if one.session_id not in keyed),
            by_person=tuple(name for name, orders in done.items() if any(one.foreign_word for one in orders)),
        )

    def _look_up(self, shape: Shape, messages: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
        lookup = ShapeLookup(self.table, shape, self.pool)
        found = lookup.find(messages.values(), self.deadline)
        orders = {name: found[message] for name, message in messages.items()}
        for each in orders.values():
            if isinstance(each, SyncError):
                raise each
        return orders  # type: ignore[return-value]  # errors are raised above
