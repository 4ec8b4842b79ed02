"""What storms came to, as a page of Markdown."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tests.fault_injection.storm import Result

type Row = list[str]


def table(results: Sequence[Result]) -> str:
    parts = [_overview(results), _faults(results)]
    parts += [_wrongs(result) for result in results if not result.is_right]
    return "\n\n".join(parts)


def _overview(results: Sequence[Result]) -> str:
    # Without faults every request was needed; what a storm asks beyond that, it asks again.
    fair = next((sum(result.requests.values()) for result in results if result.weather.is_fair), None)
    lines: list[tuple[str, Callable[[Result], object]]] = [
        ("faults injected", lambda result: sum(fired.times for fired in result.fired)),
        ("requests", lambda result: sum(result.requests.values())),
        ("of them repeats", lambda result: "?" if fair is None else sum(result.requests.values()) - fair),
        ("messages received", lambda result: result.happened.get("messages received", 0)),
        ("messages delivered twice", lambda result: result.happened.get("messages duplicated", 0)),
        ("processes killed", lambda result: result.happened.get("killed", 0)),
        ("processes timed out", lambda result: result.happened.get("timed out", 0)),
        ("producers failed", lambda result: result.happened.get("producers failed", 0)),
        ("producers invoked by hand", lambda result: result.happened.get("producers invoked by hand", 0)),
        ("dead letters redriven", lambda result: result.happened.get("redriven", 0)),
        ("seconds of storm", lambda result: result.seconds["storm"]),
        ("seconds of calm", lambda result: result.seconds["calm"]),
        ("lost", lambda result: len(result.verdict.lost)),
        ("doubled", lambda result: len(result.verdict.doubled)),
        ("miscounted", lambda result: len(result.verdict.miscounted)),
        ("webhook's items changed", lambda result: len(result.verdict.touched)),
    ]
    rows = [[name, *(str(number(result)) for result in results)] for name, number in lines]
    sessions = results[0].weather.sessions
    return markdown([f"{sessions} sessions", *(f"{result.weather.rate:.0%}" for result in results)], rows)


def _faults(results: Sequence[Result]) -> str:
    columns = [
        Counter({(fired.service, fired.operation, fired.kind): fired.times for fired in result.fired})
        for result in results
    ]
    kinds = sorted({kind for column in columns for kind in column})
    rows = [[" ".join(kind), *(str(column[kind]) for column in columns)] for kind in kinds]
    return markdown(["fault", *(f"{result.weather.rate:.0%}" for result in results)], rows)


def _wrongs(result: Result) -> str:
    found = result.verdict
    wrongs = [*found.lost, *found.doubled, *found.miscounted, *found.touched, *result.bugs]
    return f"At {result.weather.rate:.0%}:\n" + "\n".join(f"- {wrong}" for wrong in wrongs[:50])


def markdown(head: Row, rows: Iterable[Row]) -> str:
    line = "|" + "---|" + "--:|" * (len(head) - 1)
    return "\n".join([_row(head), line, *(_row(row) for row in rows)])


def _row(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"
