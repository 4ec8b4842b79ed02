"""Whether the sync finds the orders of a shop's table, and where they are if it does not.

`gather` reads recent sessions and a bounded part of the table, and `judge` is pure.
"""

from ops.layout.gather import gather_evidence
from ops.layout.judge import judge_layout

__all__ = ["gather_evidence", "judge_layout"]
