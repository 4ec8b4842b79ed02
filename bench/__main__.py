"""`make bench` measures and writes bench/RESULTS.md; `make bench ARGS="nightly polite"` these sections only.

Ends with 1 where a demand was missed: a figure that got worse is a failure, as a test is one.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.machine import machine
from bench.page import put_in
from bench.sections import SECTIONS, Measured
from infra.arguments import ArgumentParser

PAGE = Path(__file__).with_name("RESULTS.md")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    names = parser.parse_args(arguments).sections
    twice = [name for name, count in Counter(names).items() if count > 1]
    parser.refuse_if(bool(twice), f"{', '.join(twice)} is named more than once; name each section once")
    missed = [sentence for name in names or by_default() for sentence in _section(name).missed]
    for sentence in missed:
        sys.stderr.write(f"missed: {sentence}\n")
    return 1 if missed else 0


def by_default() -> list[str]:
    return [name for name, section in SECTIONS.items() if not section.on_demand]


def _section(name: str) -> Measured:
    """Measured, shown and written at once: a later section that fails takes no figures along."""
    sys.stderr.write(f"{name} …\n")
    began = time.monotonic()
    found = SECTIONS[name].measure()
    sys.stdout.write(f"{found.markdown}\n")
    sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    PAGE.write_text(put_in(PAGE.read_text(), f"make bench: {name}", written(name, found)))
    return found


def written(name: str, found: Measured) -> str:
    """With the machine and the command: sections may have been measured on different ones."""
    missed = "".join(f"\n**Missed: {sentence}**\n" for sentence in found.missed)
    return f'{found.markdown}{missed}\n<sub>`make bench ARGS="{name}"` on {machine()}</sub>\n'


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", choices=[*SECTIONS], metavar="SECTION", help=f"of {', '.join(SECTIONS)}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
