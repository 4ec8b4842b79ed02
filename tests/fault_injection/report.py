"""The results of storms as a page of Markdown."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tests.fault_injection.storm import StormResult

type TableRow = list[str]


def format_report(results: Sequence[StormResult]) -> str:
    parts = [_format_overview(results), _format_faults(results)]
    parts += [_format_violations(result) for result in results if not result.is_right]
    return "\n\n".join(parts)


def _format_overview(results: Sequence[StormResult]) -> str:
    # Without faults every request was necessary, so the requests beyond that are repeats.
    without_faults = next((sum(one.requests.values()) for one in results if one.options.rate == 0), None)

    def summarize(result: StormResult) -> dict[str, object]:
        requests, verdict = sum(result.requests.values()), result.verdict
        happened = {name: result.happened.get(key, 0) for name, key in _HAPPENED.items()}
        return {
            "faults injected": sum(one.times for one in result.faults),
            "requests": requests,
            "of them repeats": "?" if without_faults is None else requests - without_faults,
            **happened,
            "seconds of storm": result.seconds["storm"],
            "seconds of calm": result.seconds["calm"],
            "lost": len(verdict.lost),
            "doubled": len(verdict.doubled),
            "miscounted": len(verdict.miscounted),
            "webhook's items changed": len(verdict.touched),
        }

    columns = [summarize(result) for result in results]
    rows = [[name, *(str(column[name]) for column in columns)] for name in columns[0]]
    return format_table([f"{results[0].options.sessions} sessions", *_format_rates(results)], rows)


_HAPPENED = {
    "messages received": "messages received",
    "messages delivered twice": "messages duplicated",
    "processes killed": "killed",
    "processes timed out": "timed out",
    "producers failed": "producers failed",
    "producers invoked manually": "producers invoked manually",
    "dead letters redriven": "redriven",
}


def _format_faults(results: Sequence[StormResult]) -> str:
    columns = [
        Counter({(one.service, one.operation, one.kind): one.times for one in result.faults})
        for result in results
    ]
    kinds = sorted({kind for column in columns for kind in column})
    rows = [[" ".join(kind), *(str(column[kind]) for column in columns)] for kind in kinds]
    return format_table(["fault", *_format_rates(results)], rows)


def _format_rates(results: Sequence[StormResult]) -> TableRow:
    return [f"{result.options.rate:.0%}" for result in results]


def _format_violations(result: StormResult) -> str:
    wrong = [*result.verdict.list_all(), *result.bugs]
    return f"At {result.options.rate:.0%}:\n" + "\n".join(f"- {one}" for one in wrong[:50])


def format_table(head: TableRow, rows: Iterable[TableRow]) -> str:
    line = "|" + "---|" + "--:|" * (len(head) - 1)
    return "\n".join([_format_row(head), line, *map(_format_row, rows)])


def _format_row(cells: TableRow) -> str:
    return f"| {' | '.join(cells)} |"
