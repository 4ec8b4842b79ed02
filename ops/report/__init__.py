"""The report: what the runs of some days recovered, as one HTML page that needs nothing else.

model.py     what the page says: frozen values, no markup
sessions.py  pure: what several runs saw of the same sessions, taken together
summary.py   pure: runs and sessions become a report
collect.py   reads the table into the model
words.py     numbers, days and durations as people read them
markup.py    HTML that escapes what it is given
lede.py      the report in a sentence or two
overview.py  numbers at a glance, and how they went day by day
notes.py     what the page does not know
charts.py    bars, as inline SVG
tables.py    tables that scroll by themselves
style.py     the page's style sheet
page.py      the page
"""

from ops.report.collect import collect
from ops.report.model import Report
from ops.report.page import page

__all__ = ["Report", "collect", "page"]
