"""The generated pages: bench/RESULTS.md and docs/scaling.md."""

import pytest

from bench import __main__ as bench
from bench.page import replace_marked
from bench.sections import SECTIONS


def test_only_the_text_between_the_marks_is_replaced():
    page = "before\n<!-- one -->\nold\n<!-- end -->\nbetween\n<!-- two -->\nkept\n<!-- end -->\n"
    assert replace_marked(page, "one", "new\n") == page.replace("old", "new")


def test_page_without_the_mark_is_refused():
    with pytest.raises(ValueError, match="must have the mark <!-- make cost: night -->"):
        replace_marked("no marks", "make cost: night", "")


def test_every_section_has_its_marks_in_the_results():
    page = bench.PAGE.read_text()
    for name in SECTIONS:
        assert replace_marked(page, f"make bench: {name}", "measured") != page


def test_unknown_section_is_refused(capsys):
    with pytest.raises(SystemExit):
        bench.main(["no-such-section"])
    assert "no-such-section" in capsys.readouterr().err
