"""Pure: the text of a `shape.toml`."""

import json
import re
import textwrap
from collections.abc import Iterable

from ops.layout.shape.search import Templates
from ops.layout.shape.words import Words
from recon.domain.shape import Word

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 100


def render(table: str, index: str | None, templates: Templates, words: Words) -> str:
    """Return the file without comments."""
    lines = ["[find]", f"table = {_quote(table)}", f"key = {_to_table(templates)}"]
    if index:
        lines.append(f"index = {_quote(index)}")
    for name, values in (("done", words.done), ("open", words.open)):
        if words.attribute and values:
            listed = ", ".join(map(_to_word, values))
            lines.append(f"{name} = {{ {_name(words.attribute)} = [{listed}] }}")
    return "\n".join(lines) + "\n"


def add_comments(text: str, paragraphs: Iterable[str]) -> str:
    """Return the file below these comments. A command is one line, to be copied."""
    lines = []
    for paragraph in paragraphs:
        is_command = paragraph.startswith("aws ")
        lines += [paragraph] if is_command else textwrap.wrap(paragraph, _WIDTH, break_long_words=False)
    return "".join(f"# {line}\n" for line in lines) + text


def _to_table(templates: Templates) -> str:
    pairs = ", ".join(f"{_name(name)} = {_quote(text)}" for name, text in templates)
    return f"{{ {pairs} }}"


def _name(text: str) -> str:
    return text if _BARE.fullmatch(text) else _quote(text)


def _to_word(word: Word) -> str:
    return _quote(word) if isinstance(word, str) else str(word).lower()


def _quote(text: str) -> str:
    """Return a TOML string. TOML escapes like JSON, but for this one control character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
