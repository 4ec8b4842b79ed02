"""How a night grows, with its sessions and with its consumers, and what docs/scaling.md shows of that."""

from bench.growth.charts import DOCS, drawn
from bench.growth.check import check_table, checked
from bench.growth.grid import grown, next_limits
from bench.growth.tables import assumed, grid_table, next_table
from bench.page import put_in
from bench.sections import Measured

PAGE = DOCS / "scaling.md"


def measured() -> Measured:
    """Also draws the plots, and puts the tables into docs/scaling.md."""
    grid = grown()
    for path, drawing in drawn(grid):
        path.write_text(drawing)
    made = {
        "seconds": grid_table(grid),
        "next": next_table(next_limits()),
        "check": check_table(checked()),
        "assumed": assumed(),
    }
    page = PAGE.read_text()
    for name, content in made.items():
        page = put_in(page, f"make bench: growth {name}", content)
    PAGE.write_text(page)
    return Measured(
        "Simulated nights, the plots of which are in [docs/scaling.md](../docs/scaling.md#growth).\n\n"
        f"{made['seconds']}\nThe model beside real nights of real processes:\n\n{made['check']}"
    )
