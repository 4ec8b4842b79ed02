"""The check before the first deployment: whether the sync would find the orders of the shop's table."""

from collections.abc import Callable, Sequence

from infra.deploy.errors import DeployError
from infra.deploy.settings import DeploySettings
from infra.deploy.terminal import BOLD, YELLOW, DeployTerminal

# Parameters that `nightly-sync layout --set` accepts.
PARAMETERS = (
    "CommerceTable",
    "StripeSecretParameter",
    "SessionFilter",
    "UserIdSources",
    "EmailCase",
    "OrderSortKey",
    "OrderTtlDays",
    "GraceMinutes",
    "StripeApiBase",
    "Shape",
)
_FITS, _DOES_NOT_FIT = 0, 1


def check_layout(
    terminal: DeployTerminal, operator: Callable[[Sequence[str]], int], wanted: DeploySettings
) -> None:
    """Run `nightly-sync layout`, which writes nothing, with the settings to deploy.

    If something does not fit, ask whether to deploy all the same. Raise DeployError if the user declines, or
    if nobody can be asked and the schedule would start a run. A check that could not run prevents nothing.
    """
    terminal.line("nightly-sync layout", BOLD)
    values = [(name, wanted.parameters.get(name)) for name in PARAMETERS]
    changes = [word for name, value in values if value for word in ("--set", f"{name}={value}")]
    result = operator(["layout", "--region", wanted.region, *changes])
    if result == _FITS:
        return
    if result != _DOES_NOT_FIT:
        terminal.line(
            "The layout could not be checked; the reason is above. The preview shows it, too.", YELLOW
        )
        return
    if not terminal.is_interactive and wanted.parameters.get("ScheduleState") != "DISABLED":
        raise DeployError(
            "nothing was deployed, since the table does not fit and the schedule would start a run: set what "
            "helps, or ScheduleState=DISABLED to deploy all the same"
        )
    if not terminal.confirm(
        "The table does not fit yet. Deploy all the same? Nothing is written before a run."
    ):
        raise DeployError("nothing was deployed")
