"""What a screen prints to a terminal, a pipe or a file."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from ops.cli import command
from ops.cli.screen import Screen


class Printed:
    """A screen whose standard output can be read back."""

    def __init__(self, width=80, encoding="utf-8", *, terminal=True):
        self.raw, self.encoding = io.BytesIO(), encoding
        out = io.TextIOWrapper(self.raw, encoding=encoding, write_through=True)
        console = Console(file=out, width=width, force_terminal=terminal, highlight=False, color_system=None)
        self.screen = Screen(console, Console(file=io.StringIO()), show_pii=False)

    @property
    def output(self):
        return self.raw.getvalue().decode(self.encoding)


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "\u202eback", "\x08\x08\x08", "\rover", "\x00"],
    ids=ascii,
)
@pytest.mark.parametrize(
    "show",
    [
        lambda screen, text: screen.text(text),
        lambda screen, text: screen.line(text),
        lambda screen, text: screen.detail(text),
        lambda screen, text: screen.facts([("name", text, "")]),
        lambda screen, text: screen.table(["name"], [[text]]),
    ],
    ids=["text", "line", "detail", "facts", "table"],
)
def test_control_characters_do_not_reach_the_terminal(show, hostile):
    printed = Printed()
    show(printed.screen, f"a{hostile}b")
    assert hostile not in printed.output
    assert "\ufffd" in printed.output


@pytest.mark.parametrize(
    ("typed", "environment", "options"),
    [
        ("--stack shop-two --profile 'night shift'", {}, " --stack shop-two --profile 'night shift'"),
        ("--region eu-west-1 --sandbox box", {}, " --region eu-west-1 --sandbox box"),
        ("", {"NIGHTLY_SYNC_STACK": "shop-two"}, " --stack shop-two"),
        ("--stack stripe-nightly-sync", {"NIGHTLY_SYNC_SANDBOX": "box"}, ""),
    ],
)
def test_printed_commands_work_on_the_same_stack(cli, monkeypatch, typed, environment, options):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screens = []
    monkeypatch.setattr(command, "_execute", lambda context, _call: screens.append(context.screen) or 0)
    cli(f"{typed} status")
    printed = Printed(terminal=False)
    screen = replace(screens[0], out=printed.screen.out)
    screen.command("nightly-sync dlq list --check")
    screen.json({"command": "nightly-sync resume"})
    screen.text("Wrote nightly-sync-report.html; `nightly-sync --help`; see nightly-sync logs RUN.")
    assert printed.output == (
        f"    nightly-sync{options} dlq list --check\n"
        f'{{\n  "command": "nightly-sync{options} resume"\n}}\n'
        f"Wrote nightly-sync-report.html; `nightly-sync --help`; see nightly-sync{options} logs RUN.\n"
    )


def test_table_wider_than_a_pipe_is_not_cropped():
    printed = Printed(width=40, terminal=False)
    row = ["cs_test_" + "x" * 58, "created", "BC-12345678", "1,234.50 USD"]
    columns = ["session", "outcome", "order", "amount"]
    printed.screen.table(columns, [row], right=["amount"], whole=["session", "order"])
    assert [cell for cell in row if cell not in printed.output and cell != "created"] == []
    assert printed.screen.out.width == 40


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
def test_json_stays_valid_and_masked_in_any_encoding(text, encoding):
    printed = Printed(encoding=encoding, terminal=False)
    printed.screen.json({"text": text, "list": [text], "number": 1, "nothing": None})
    parsed = json.loads(printed.output)
    assert parsed["list"] == [parsed["text"]]
    assert (parsed["number"], parsed["nothing"]) == (1, None)
    assert parsed["text"] == text or "…@…" in parsed["text"]
    assert "jane@" not in printed.output
