"""The section `growth`: how a night grows with its sessions and consumers, as shown in docs/scaling.md."""

from bench.growth.charts import DOCS, draw_plots
from bench.growth.check import check_model, check_table
from bench.growth.grid import next_limits, simulate_grid
from bench.growth.tables import assumptions_table, grid_table, next_table
from bench.page import replace_marked
from bench.sections import SectionResult

PAGE = DOCS / "scaling.md"


def measure() -> SectionResult:
    """Simulate all nights; also draw the plots and write the tables of docs/scaling.md."""
    grid = simulate_grid()
    for path, drawing in draw_plots(grid):
        path.write_text(drawing)
    made = {
        "seconds": grid_table(grid),
        "next": next_table(next_limits()),
        "check": check_table(check_model()),
        "assumed": assumptions_table(),
    }
    page = PAGE.read_text()
    for name, content in made.items():
        page = replace_marked(page, f"make bench: growth {name}", content)
    PAGE.write_text(page)
    return SectionResult(
        "Simulated nights, the plots of which are in [docs/scaling.md](../docs/scaling.md#growth).\n\n"
        f"{made['seconds']}\nThe model beside real nights of real processes:\n\n{made['check']}"
    )
