"""Measure sections of bench/RESULTS.md and write them: all of them, or those that are named.

The exit code is 1 if a demand was missed, so that a worse figure fails like a test.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.machine import describe_machine
from bench.page import replace_marked
from bench.sections import SECTIONS, SectionResult
from infra.arguments import ArgumentParser

PAGE = Path(__file__).with_name("RESULTS.md")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    names = parser.parse_args(arguments).sections
    twice = [name for name, count in Counter(names).items() if count > 1]
    parser.refuse_if(bool(twice), f"{', '.join(twice)} is named more than once; name each section once")
    missed = [sentence for name in names or default_sections() for sentence in _run_section(name).missed]
    for sentence in missed:
        sys.stderr.write(f"missed: {sentence}\n")
    return 1 if missed else 0


def default_sections() -> list[str]:
    return [name for name, section in SECTIONS.items() if not section.on_demand]


def _run_section(name: str) -> SectionResult:
    """Measure a section, print it and write it at once, so that a later failure does not lose it."""
    sys.stderr.write(f"{name} …\n")
    began = time.monotonic()
    result = SECTIONS[name].measure()
    sys.stdout.write(f"{result.markdown}\n")
    sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    PAGE.write_text(replace_marked(PAGE.read_text(), f"make bench: {name}", render_section(name, result)))
    return result


def render_section(name: str, result: SectionResult) -> str:
    """Return the section's markdown with its machine and command, since these differ by section."""
    missed = "".join(f"\n**Missed: {sentence}**\n" for sentence in result.missed)
    return f'{result.markdown}{missed}\n<sub>`make bench ARGS="{name}"` on {describe_machine()}</sub>\n'


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "sections", nargs="*", choices=[*SECTIONS], metavar="SECTION", help=f"of {', '.join(SECTIONS)}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
