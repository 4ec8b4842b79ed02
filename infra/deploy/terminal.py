"""The terminal: lines, tables, questions, and colours if the output is a terminal."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TextIO

from infra.deploy.errors import DeployError

RED, YELLOW, BOLD = "31", "33", "1"


@dataclass(frozen=True)
class DeployTerminal:
    """An output and its user. `read` returns the answer to a question; None means `--yes`: never prompt."""

    out: TextIO
    read: Callable[[str], str] | None

    def line(self, text: str = "", style: str = "") -> None:
        self.out.write(f"{self._apply_style(text, style)}\n")
        self.out.flush()

    def _apply_style(self, text: str, style: str) -> str:
        plain = not style or not self.out.isatty() or "NO_COLOR" in os.environ
        return text if plain else f"\033[{style}m{text}\033[0m"

    @property
    def is_interactive(self) -> bool:
        return self.read is not None

    def ask(self, question: str, default: str = "") -> str:
        """Return the typed answer, or the default. Raise DeployError if there is no input."""
        unanswered = f"no terminal to answer: {question}; --yes asks nothing"
        if self.read is None:
            raise DeployError(unanswered)
        try:
            return self.read(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
        except EOFError:
            raise DeployError(unanswered) from None

    def confirm(self, question: str) -> bool:
        """Return whether the answer is yes. With `--yes` it always is."""
        return self.read is None or self.ask(f"{question} (y/n)", "n").lower() in {"y", "yes"}

    def accept_offer(self, offer: str) -> bool:
        """Return whether the user accepts an optional step. Ctrl-C, no input and `--yes` mean no."""
        try:
            return self.is_interactive and self.confirm(offer)
        except (DeployError, KeyboardInterrupt):
            return False

    def table(self, rows: Sequence[tuple[Sequence[str], str]]) -> None:
        """Print rows of cells, each row with its style, in aligned columns."""
        if not rows:
            return
        widths = [max(map(len, column)) for column in zip(*(cells for cells, _ in rows), strict=True)]
        for cells, style in rows:
            padded = (f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True))
            self.line(("  " + "  ".join(padded)).rstrip(), style)
