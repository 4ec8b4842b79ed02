"""Storms over a whole shop: `python -m tests.fault_injection --rates 0 0.3` prints a table of their results.

Exit status 1 if an order was lost, doubled or miscounted.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from infra.arguments import ArgumentParser, positive_number, share, whole_number
from testkit.shop import MINIMUM_SESSIONS
from tests.fault_injection.environment import StormScale, open_environment
from tests.fault_injection.report import format_report
from tests.fault_injection.storm import Storm, StormOptions, StormResult

CALM_SECONDS = 900


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse_options(arguments)
    # As an exception, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = [_run_storm(options, rate) for rate in options.rates]
    print(format_report(results), flush=True)
    return 0 if all(result.is_right for result in results) else 1


def _run_storm(options: argparse.Namespace, rate: float) -> StormResult:
    storm_options = StormOptions(
        sessions=options.sessions,
        rate=rate,
        kill_seconds=options.kill_seconds if rate else None,
        storm_seconds=options.storm_seconds,
        calm_seconds=CALM_SECONDS,
        enough=options.enough,
        seed=options.seed,
    )
    scale = StormScale(consumers=options.consumers, timeout=options.timeout)
    with ExitStack() as stack:
        if options.home:
            home = _folder(options.home, rate)
            home.mkdir(parents=True)
        else:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nightly-sync-wire-")))

        def log(what: str) -> None:
            print(f"[{rate:.0%}] {what}", file=sys.stderr, flush=True)

        environment = stack.enter_context(open_environment(home, scale))
        result = Storm(environment, storm_options, log).run()
        (home / "result.json").write_text(json.dumps(asdict(result), indent=1))
        return result


def _folder(home: Path, rate: float) -> Path:
    return home / f"{rate:.0%}"


def _parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m tests.fault_injection", description=__doc__)
    count, seconds = whole_number(1), positive_number
    parser.add_argument("--sessions", type=whole_number(MINIMUM_SESSIONS), default=5000)
    parser.add_argument("--consumers", type=count, default=8)
    parser.add_argument("--rates", type=share, nargs="+", default=[0, 0.05, 0.3, 0.6])
    parser.add_argument("--timeout", type=count, default=20, help="seconds of one consumer's invocation")
    parser.add_argument("--kill-seconds", type=seconds, default=4.0, help="mean time between two kills")
    parser.add_argument(
        "--storm-seconds", type=seconds, default=1500, help="until the faults end at the latest"
    )
    parser.add_argument("--enough", type=share, help="share of the sessions after which the faults may end")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--home", type=Path, help="a new folder for the logs; without it they are removed")
    options = parser.parse_args(arguments)
    _refuse_useless(parser, options)
    return options


def _refuse_useless(parser: ArgumentParser, options: argparse.Namespace) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
