"""The bookkeeping of `make mutants`: fates, the list of survivors, the table, which tests a round asks."""

import json

import pytest

from tests.mutation import page, report, survivors
from tests.mutation.branches import counted
from tests.mutation.campaign import cut
from tests.mutation.verdicts import Fate, Mutant, fate_of, mutants

ENTRY = """
[[reason]]
why = "the wording of a log line"
survivors = [
    { function = "recon.stripe.rate_limiter.RateLimiter.wait", change = '''
- a
+ b
''' },
]
"""
KEY = ("recon.stripe.rate_limiter.RateLimiter.wait", "- a\n+ b")


class Changed(Mutant):
    """A mutant whose change needs no copy of the sources."""

    def change(self):
        return "- a\n+ b"


def mutant(fate, module="recon.stripe.rate_limiter", number=1):
    return Changed(f"{module}.x{number}", module, f"{module}.Pacer.wait", fate, f"{module}.py")


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        (1, Fate.KILLED),
        (3, Fate.KILLED),
        (-24, Fate.TIMED_OUT),
        (0, Fate.SURVIVED),
        (33, Fate.SURVIVED),  # no test reaches it
        (-11, Fate.SURVIVED),  # nobody foresaw it
        (None, Fate.UNCHECKED),
    ],
)
def test_a_mutant_is_killed_by_a_test_that_fails_and_by_nothing_else(code, fate):
    assert fate_of(code) is fate


def test_mutants_are_read_with_the_function_they_change(tmp_path):
    codes = {"recon.dynamodb.runs.xǁRunsǁget__mutmut_1": 1, "recon.dynamodb.runs.x__create__mutmut_12": None}
    (tmp_path / "recon" / "ledger").mkdir(parents=True)
    (tmp_path / "recon" / "ledger" / "runs.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    assert [(found.function, found.module, found.fate) for found in mutants(tmp_path)] == [
        ("recon.dynamodb.runs.Runs.get", "recon.dynamodb.runs", Fate.KILLED),
        ("recon.dynamodb.runs._create", "recon.dynamodb.runs", Fate.UNCHECKED),
    ]


def test_a_survivor_needs_a_reason_and_one_only():
    assert survivors.listed(ENTRY) == {KEY: "the wording of a log line"}
    with pytest.raises(ValueError, match="has no reason"):
        survivors.listed(ENTRY.replace("the wording of a log line", " "))
    with pytest.raises(ValueError, match="listed twice"):
        survivors.listed(ENTRY + ENTRY)


def test_every_survivor_in_the_repository_has_its_reason():
    assert survivors.listed(survivors.LIST.read_text())


def test_a_survivor_that_is_not_listed_is_named_and_so_is_one_that_lives_no_more():
    alive, dead = mutant(Fate.SURVIVED), mutant(Fate.KILLED)
    assert survivors.compared([alive, dead], {KEY: "why"}) == survivors.Comparison([], [])
    assert survivors.compared([alive], {}) == survivors.Comparison([alive], [])
    assert survivors.compared([dead], {KEY: "why"}) == survivors.Comparison([], [KEY])
    # Of another module's nothing is known.
    assert survivors.compared([mutant(Fate.KILLED, "recon.aws.queue")], {KEY: "why"}).dead == []


def test_the_table_has_a_line_a_module_and_one_of_all():
    found = [mutant(fate, number=number) for number, fate in enumerate([*[Fate.KILLED] * 8, Fate.TIMED_OUT])]
    found += [mutant(Fate.SURVIVED, "recon.aws.queue"), mutant(Fate.UNCHECKED, "recon.aws.queue", 2)]
    assert report.table(found).splitlines()[2:] == [
        "| `recon.stripe.rate_limiter` | 9 | 0 | 8 | 1 | 0 | 100.0% |",
        "| `recon.aws.queue` | 2 | 1 | 0 | 0 | 1 | 0.0% |",
        "| all | 11 | 1 | 8 | 1 | 1 | 90.0% |",
    ]
    assert report.share(found) == 0.9


def test_a_round_asks_the_fastest_tests_and_at_least_one():
    took = {"a": 1.5, "b": 0.5, "c": 0.25, "slow": 9.0}
    reached = {"f": ["a", "b", "c"], "g": ["slow"], "h": []}
    made = cut({"duration_by_test": took, "tests_by_mangled_function_name": reached, "more": 1}, seconds=1.0)
    assert made["tests_by_mangled_function_name"] == {"f": ["c", "b"], "g": ["slow"], "h": []}
    assert made["more"] == 1


def test_the_page_keeps_everything_but_its_table():
    text = "before\n<!-- make mutants -->\nold\n<!-- end -->\nafter\n"
    assert page.put_in(text, "new\n") == text.replace("old", "new")
    with pytest.raises(ValueError, match="must have the mark"):
        page.put_in("no mark", "new\n")
    assert page.PAGE.read_text().count(page.BEGIN) == 1


def test_branches_are_added_up_by_package():
    summary = {
        "covered_branches": 1,
        "num_branches": 2,
        "covered_lines": 3,
        "num_statements": 4,
        "excluded_lines": 9,
    }
    files = {name: {"summary": summary} for name in ("recon/a.py", "recon/dynamodb/b.py", "producer/c.py")}
    assert counted(files, "recon") == {
        "covered_branches": 2,
        "num_branches": 4,
        "covered_lines": 6,
        "num_statements": 8,
    }
