"""The command line of the demo."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infra.build import ROOT
from testkit.shop import MINIMUM_SESSIONS

HOME = ROOT / ".sandbox"
# A small shop's day: large enough to see batches and retries, over in seconds.
SESSIONS = 200
SEED = 1
# 30 days: as far back as the producer looks. A test account is rarely busy.
LOOKBACK_HOURS = 720


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


def options_from(arguments: Sequence[str] | None) -> Options:
    options = Options(**vars(_parser().parse_args(arguments)))
    return replace(options, keep=options.keep or options.morning)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    add("--sessions", type=_sessions, default=SESSIONS, help=f"sessions of the made-up shop ({SESSIONS})")
    add("--seed", type=int, default=SEED, help=f"which made-up shop ({SEED})")
    add(
        "--lookback-hours",
        type=_hours,
        default=LOOKBACK_HOURS,
        help=f"how far to look back into your own account ({LOOKBACK_HOURS})",
    )
    add("--home", type=_folder, default=HOME, help="folder of what is left up (.sandbox)")
    return parser


def _folder(text: str) -> Path:
    return Path(text).resolve()


def _sessions(text: str) -> int:
    return _number(text, MINIMUM_SESSIONS, 100_000)


def _hours(text: str) -> int:
    return _number(text, 1, LOOKBACK_HOURS)


def _number(text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise argparse.ArgumentTypeError(f"must be a number from {low} to {high}")
    return int(text)
