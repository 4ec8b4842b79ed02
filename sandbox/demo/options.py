"""The command line of the demo."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infra.arguments import ArgumentParser, whole_number
from infra.build import ROOT
from testkit.shop import MINIMUM_SESSIONS

HOME = ROOT / ".sandbox"
# A small shop's day: large enough to see batches and retries, over in seconds.
SESSIONS = 200
SEED = 1
# 30 days: as far back as the producer looks. A test account is rarely busy.
LOOKBACK_HOURS = 720
# Of the layouts in docs/shapes.md, one for each way to find an order.
LAYOUTS = ("order-id-in-metadata", "session-id-as-key", "index-on-session-id")


@dataclass(frozen=True)
class Options:
    sessions: int = SESSIONS
    seed: int = SEED
    keep: bool = False
    stop: bool = False
    morning: bool = False
    real_stripe: bool = False
    lookback_hours: int = LOOKBACK_HOURS
    home: Path = HOME
    layout: str = ""


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Return what the command line asks for. Exit with status 2 for an option that would have no effect."""
    parser = _parser()
    options = Options(**vars(parser.parse_args(arguments)))
    _refuse_senseless(parser, options)
    return replace(options, keep=options.keep or options.morning)


def _refuse_senseless(parser: ArgumentParser, options: Options) -> None:
    if options.stop:
        starts = "is for a demo that starts; with --stop give only --home"
        parser.refuse_if(options.real_stripe, f"--real-stripe {starts}")
        parser.refuse_given(("--sessions", "--seed", "--lookback-hours", "--layout"), starts)
    if options.real_stripe:
        made_up = "is for the made-up shop; with --real-stripe leave it out"
        parser.refuse_given(("--sessions", "--seed", "--layout"), made_up)
        parser.refuse_if(options.morning, "--morning is for the made-up shop; with --real-stripe give --keep")
    else:
        parser.refuse_if(
            bool(options.layout) and options.morning,
            "--morning is for the sync's own layout; with --layout give --keep",
        )
        parser.refuse_given(("--lookback-hours",), "looks back into your own account; give --real-stripe too")
    if not (options.keep or options.morning or options.stop):
        parser.refuse_given(("--home",), "is where things are left up; give --keep, --morning or --stop too")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m sandbox.demo",
        description="Runs the whole pipeline on this machine and checks every order.",
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--keep", action="store_true", help="leave it up, and print commands to look around")
    what.add_argument(
        "--morning",
        action="store_true",
        help="leave it up as the night left it, dead letters and all, for nightly-sync to mend",
    )
    what.add_argument("--stop", action="store_true", help="end what is left up")
    add(
        "--real-stripe",
        action="store_true",
        help="look at your own Stripe test account, by the test key in STRIPE_SECRET",
    )
    add(
        "--sessions",
        type=whole_number(MINIMUM_SESSIONS, 100_000),
        default=SESSIONS,
        help=f"sessions of the made-up shop ({SESSIONS})",
    )
    add(
        "--layout",
        choices=LAYOUTS,
        default="",
        metavar="NAME",
        help=f"a shop that keeps its orders in another layout, which is only read: {', '.join(LAYOUTS)}",
    )
    add("--seed", type=int, default=SEED, help=f"which made-up shop ({SEED})")
    add(
        "--lookback-hours",
        type=whole_number(1, LOOKBACK_HOURS),
        default=LOOKBACK_HOURS,
        help=f"how far to look back into your own account ({LOOKBACK_HOURS})",
    )
    add("--home", type=_folder, default=HOME, help="folder of what is left up (.sandbox)")
    return parser


def _folder(text: str) -> Path:
    return Path(text).resolve()
