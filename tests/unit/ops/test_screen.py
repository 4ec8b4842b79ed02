"""What reaches a terminal, a pipe or a file."""

import io
import json

import pytest
from rich.console import Console

from ops.cli.screen import Screen


@pytest.fixture
def shown():
    """A screen of so many columns, and what it has shown."""

    def make(width=80, encoding="utf-8", *, terminal=True):
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
        console = Console(file=out, width=width, force_terminal=terminal, highlight=False, color_system=None)
        return Screen(console, Console(file=io.StringIO()), show_pii=False), lambda: raw.getvalue().decode(
            encoding
        )

    return make


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "\u202eback", "\x08\x08\x08", "\rover", "\x00"],
    ids=ascii,
)
def test_what_others_have_written_is_no_command_to_the_terminal(shown, hostile):
    for show in (
        lambda screen: screen.text(f"a{hostile}b"),
        lambda screen: screen.indented(f"a{hostile}b"),
        lambda screen: screen.facts([("name", f"a{hostile}b", "")]),
        lambda screen: screen.table(["name"], [[f"a{hostile}b"]]),
    ):
        screen, output = shown()
        show(screen)
        assert hostile not in output()
        assert "\ufffd" in output()


def test_a_table_that_is_wider_than_the_terminal_loses_nothing(shown):
    screen, output = shown(width=40)
    session, order = "cs_test_" + "x" * 58, "BC-12345678"
    row = [session, "created", order, "1,234.50 USD"]
    screen.table(
        ["session", "outcome", "order", "amount"], [row], right=["amount"], whole=["session", "order"]
    )
    assert [part for part in (session, order, "1,234.50 USD") if part not in output()] == []
    assert screen.out.width == 40


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize(
    "text",
    [
        'user "jane@example.com" has',
        "a@b.com",
        "cs_:x:_:smile:",
        "[bold]no markup[/bold]",
        "jürgen \x1b[31m",
        "€",
    ],
    ids=ascii,
)
def test_json_is_json_whatever_is_in_it_and_wherever_it_goes(shown, text, encoding):
    screen, output = shown(encoding=encoding, terminal=False)
    screen.json({"text": text, "list": [text], "number": 1, "nothing": None})
    read = json.loads(output())
    assert read["list"] == [read["text"]]
    assert (read["number"], read["nothing"]) == (1, None)
    assert read["text"] == text or "…@…" in read["text"]
    assert "jane@" not in output()
