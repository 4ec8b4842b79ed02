"""The command-line parser of the Python programs in this tree; it never ignores an option silently."""

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any


class ArgumentParser(argparse.ArgumentParser):
    """An `argparse.ArgumentParser` that rejects abbreviations, unknown words and repeated options.

    An option is repeated if it is given twice and only its last value would count.
    """

    def __init__(self, **named: Any) -> None:  # noqa: ANN401 - passed on to argparse
        super().__init__(allow_abbrev=False, **named)
        self.given: set[str] = set()
        self.register("action", None, _StoreOnce)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401
        """Return the parsed arguments and an empty list. Exit with status 2 if a word is unknown."""
        self.given = set()
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"{unknown[0]} is unknown; `{self.prog} --help` lists what is accepted")
        return found, unknown

    def refuse_if(self, unfit: bool, sentence: str) -> None:
        """If `unfit`, exit with status 2 and `sentence`, which names the option and what would be right."""
        if unfit:
            self.error(sentence)

    def refuse_given(self, options: Iterable[str], sentence: str) -> None:
        """Exit with status 2 if one of `options` was given a value. `sentence` continues after its name."""
        for option in options:
            self.refuse_if(option in self.given, f"{option} {sentence}")

    def add_refused(self, option: str, sentence: str) -> None:
        """Reject `option`, with or without a value: exit with status 2 and `sentence`."""
        self.add_argument(option, action=_Refuse, nargs="?", const=sentence, help=argparse.SUPPRESS)


class _StoreOnce(argparse.Action):
    """The action of an option that may be given once."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        if option_string and isinstance(parser, ArgumentParser):
            parser.refuse_if(option_string in parser.given, f"{option_string} is given twice; give it once")
            parser.given.add(option_string)
        setattr(namespace, self.dest, values)


class _Refuse(argparse.Action):
    """The action of an option that ends the program with the sentence in `const`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        _namespace: argparse.Namespace,
        _values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        parser.error(f"{option_string} {self.const}")


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a parser of whole numbers that raises ArgumentTypeError outside `least` to `most`."""

    def parse(text: str) -> int:
        if not (
            text.isascii() and text.isdigit() and least <= int(text) <= (int(text) if most is None else most)
        ):
            raise argparse.ArgumentTypeError(f"must be a whole number {_range(least, most)}")
        return int(text)

    return parse


def positive_number(text: str) -> float:
    """Return a number above 0. Raise ArgumentTypeError for anything else."""
    if not (value := _finite(text)) > 0:
        raise argparse.ArgumentTypeError("must be a number above 0")
    return value


def share(text: str) -> float:
    """Return a number from 0 to 1. Raise ArgumentTypeError for anything else."""
    if not 0 <= (value := _finite(text)) <= 1:
        raise argparse.ArgumentTypeError("must be a number from 0 to 1")
    return value


def _finite(text: str) -> float:
    """Return the number, or NaN if `text` is not a finite number: every comparison with NaN is false."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _range(least: int, most: int | None) -> str:
    return f"from {least} to {most}" if most is not None else f"of {least} or more"
