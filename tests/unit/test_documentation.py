"""The documents name what the code has; each failure names the page and the word that is missing."""

import re
from pathlib import Path

import pytest

from ops.runs.problems import SECTIONS
from recon.domain.attention import Attention
from recon.domain.order import SnapshotContext, build_order
from recon.domain.outcome import SkipReason
from recon.domain.payment_state import PaymentState, payment_attributes
from recon.telemetry import Metric
from testkit.builders import NOW, RUN, a_detailed_line, a_detailed_session
from testkit.commands import list_commands
from testkit.shop import make_shop

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
ORDER = build_order(
    a_detailed_session(),
    [a_detailed_line()],
    "user-1",
    SnapshotContext(RUN, NOW, ttl_days=1),
    raw_user_id="user 1",
) | payment_attributes(PaymentState(attention=(Attention.DISPUTED,), amount_captured=1, amount_refunded=1))
# A price has a whole amount or decimals.
LINE = ORDER["items"][0] | {"unitPriceDecimal": "0.25"}


def section(text, heading):
    """Return the part of a page below a heading of level two."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def words(text):
    """Return what stands in backticks."""
    return set(re.findall(r"`([^`\s]+)`", text))


class RecordingObject(dict):
    """An object of Stripe's that adds the fields which are read and which it lacks to `lacked`."""

    def __init__(self, fields, lacked, parent=""):
        super().__init__({name: record(value, lacked, f"{parent}{name}.") for name, value in fields.items()})
        self.lacked, self.parent = lacked, parent

    def get(self, name, default=None):
        if name not in self:
            self.lacked.add(self.parent + name)
        return super().get(name, default)


def record(value, lacked, parent=""):
    if isinstance(value, list):
        return [record(entry, lacked, parent) for entry in value]
    return RecordingObject(value, lacked, parent) if isinstance(value, dict) else value


def test_detailed_session_has_every_field_that_an_order_reads():
    """An attribute whose field it lacks would be missing in ORDER, so that no test would ask for it."""
    lacked = set()
    build_order(
        record(a_detailed_session(), lacked),
        [record(a_detailed_line(), lacked, "line.")],
        "user-1",
        SnapshotContext(RUN, NOW),
    )
    # Only a dropdown has options; the others are where another version of the API has what the sample has.
    options = {f"custom_fields.{kind}.options" for kind in ("numeric", "text")}
    assert lacked == options | {"discounts.source"}, "complete a_detailed_session in testkit/builders.py"


def test_snapshot_attributes_are_in_the_reference():
    documented = words(section(REFERENCE, "The order snapshot"))
    assert (ORDER.keys() | LINE.keys()) - {"PK", "SK"} - documented == set()
    rows = re.findall(r"^\| (`.*?`) \|", section(REFERENCE, "The order snapshot"), flags=re.MULTILINE)
    assert words(" ".join(rows)) - ORDER.keys() - LINE.keys() == set()


def test_snapshot_attributes_are_expected_by_the_independent_check():
    orders = [truth.order for truth in make_shop(100, 7, NOW).truth if truth.order is not None]
    expected = {name for order in orders for name in order}
    expected_of_items = {name for order in orders for item in order["items"] for name in item}
    written_with_the_run = {"syncRunId", "updatedAt", "completedAt", "syncedAt", "expiresAt"}
    assert ORDER.keys() - written_with_the_run == expected
    assert LINE.keys() == expected_of_items


@pytest.mark.parametrize("reason", SkipReason)
def test_skip_reason_is_in_the_reference(reason):
    assert reason.value in words(section(REFERENCE, "Records in the table"))


@pytest.mark.parametrize("command", list_commands())
def test_command_is_in_the_operators_table(command):
    first_cells = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "operate.md").read_text(), flags=re.MULTILINE)
    names = re.findall(r"`([a-z ]+?)(?: [A-Z]+)?`", " ".join(first_cells))
    assert command in names, f"the table in docs/operate.md has no row for `{command}`"


@pytest.mark.parametrize("metric", Metric)
def test_metric_is_in_the_operators_page(metric):
    assert metric.value in words((ROOT / "docs" / "operate.md").read_text())


def test_problem_leads_to_a_section_of_the_runbook():
    headings = re.findall(r"^## (\S+)$", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)
    assert set(SECTIONS.values()) <= set(headings)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page.name}: {target}#{anchor}"


def test_readme_has_at_most_a_thousand_words():
    assert len((ROOT / "README.md").read_text().split()) <= 1000
