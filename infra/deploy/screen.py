"""The terminal: lines, questions, and colours where somebody looks at them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from infra.deploy.errors import CannotDeploy

RED, YELLOW, BOLD = "31", "33", "1"


@dataclass(frozen=True)
class Screen:
    """`read` gives the answer to a question; None: nobody is there to answer (`--yes`)."""

    out: TextIO
    read: Callable[[str], str] | None

    def line(self, text: str = "", style: str = "") -> None:
        self.out.write(f"{self._styled(text, style)}\n")
        self.out.flush()

    def _styled(self, text: str, style: str) -> str:
        plain = not style or not self.out.isatty() or "NO_COLOR" in os.environ
        return text if plain else f"\033[{style}m{text}\033[0m"

    @property
    def is_answered(self) -> bool:
        return self.read is not None

    def ask(self, question: str, default: str = "") -> str:
        """What was typed, or the default. Raises CannotDeploy where nobody can type."""
        if self.read is None:
            raise CannotDeploy(f"nobody is there to answer: {question}")
        try:
            return self.read(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
        except EOFError:
            raise CannotDeploy(f"nobody is there to answer: {question}") from None

    def agreed(self, question: str) -> bool:
        """Without anybody to ask, yes: that is what `--yes` says."""
        return self.read is None or self.ask(f"{question} (y/n)", "n").lower() in {"y", "yes"}

    def takes(self, offer: str) -> bool:
        """A question that may stay open: whoever leaves it, or is not there, does not want it."""
        try:
            return self.is_answered and self.agreed(offer)
        except (CannotDeploy, KeyboardInterrupt):
            return False

    def table(self, rows: Sequence[tuple[Sequence[str], str]]) -> None:
        """Rows of cells, each with its style."""
        if not rows:
            return
        widths = [max(map(len, column)) for column in zip(*(cells for cells, _ in rows), strict=True)]
        for cells, style in rows:
            padded = (f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
            self.line(("  " + "  ".join(padded)).rstrip(), style)
