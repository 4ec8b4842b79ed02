"""Storms over a whole shop, and what they left: `python -m tests.fault_injection --rates 0 0.3`.

Prints a table; ends with 1 where an order was lost, doubled or miscounted.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from infra.arguments import ArgumentParser, positive_number, share, whole_number
from testkit.shop import MINIMUM_SESSIONS
from tests.fault_injection.place import Scale, opened
from tests.fault_injection.report import table
from tests.fault_injection.storm import Result, Storm, Weather

CALM_SECONDS = 900


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    _refuse_senseless(parser, options)
    # As an exception, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scale = Scale(consumers=options.consumers, timeout=options.timeout)
    results = [_passed(options, scale, rate) for rate in options.rates]
    print(table(results), flush=True)
    return 0 if all(result.is_right for result in results) else 1


def _passed(options: argparse.Namespace, scale: Scale, rate: float) -> Result:
    def say(what: str) -> None:
        print(f"[{rate:.0%}] {what}", file=sys.stderr, flush=True)

    weather = Weather(
        sessions=options.sessions,
        rate=rate,
        kill_seconds=options.kill_seconds if rate else None,
        storm_seconds=options.storm_seconds,
        calm_seconds=CALM_SECONDS,
        enough=options.enough,
        seed=options.seed,
    )
    if options.home:
        home = _folder(options.home, rate)
        home.mkdir(parents=True)
        with opened(home, scale) as place:
            result = Storm(place, weather, say)()
        (home / "result.json").write_text(json.dumps(asdict(result), indent=1))
        return result
    with tempfile.TemporaryDirectory(prefix="nightly-sync-wire-") as home, opened(Path(home), scale) as place:
        return Storm(place, weather, say)()


def _folder(home: Path, rate: float) -> Path:
    return home / f"{rate:.0%}"


def _refuse_senseless(parser: ArgumentParser, options: argparse.Namespace) -> None:
    """Exit with status 2 for an option that would have no effect, and for a folder that is in use."""
    if not any(options.rates):
        parser.refuse_given(("--kill-seconds", "--enough"), "is for a storm; give --rates one above 0 too")
    folders = {_folder(Path(), rate) for rate in options.rates}
    parser.refuse_if(
        len(folders) < len(options.rates), "--rates: two are the same to the percent; give each once"
    )
    if options.home:
        taken = [str(folder) for folder in (options.home / name for name in folders) if folder.exists()]
        parser.refuse_if(bool(taken), f"--home: {', '.join(taken)} is there already; name a new folder")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m tests.fault_injection", description=__doc__)
    parser.add_argument("--sessions", type=whole_number(MINIMUM_SESSIONS), default=5000)
    parser.add_argument("--consumers", type=whole_number(1), default=8)
    parser.add_argument("--rates", type=share, nargs="+", default=[0, 0.05, 0.3, 0.6])
    parser.add_argument(
        "--timeout", type=whole_number(1), default=20, help="seconds of one consumer's invocation"
    )
    parser.add_argument("--kill-seconds", type=positive_number, default=4.0, help="between two kills, about")
    parser.add_argument(
        "--storm-seconds", type=positive_number, default=1500, help="until the faults end at the latest"
    )
    parser.add_argument("--enough", type=share, help="share of the sessions after which the faults may end")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--home", type=Path, help="a new folder for the logs; they are removed without one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
