"""The report: what the runs of some days recovered, as one HTML file that needs nothing else.

model.py     the content of the report, without markup
sessions.py  the outcomes of several runs combined by session; pure
summary.py   runs and sessions combined into a report; pure
collect.py   reads the table into the model
text.py      days, results and ids as people read them
markup.py    HTML that escapes its content
state.py     the state of the system and the actions, with which the page begins
headline.py  the period in a sentence or two
overview.py  the main numbers, and charts of them by day
notes.py     what the report cannot show
charts.py    bar charts as inline SVG
tables.py    tables that scroll
style.py     the style sheet
page.py      the whole page
"""

from ops.report.collect import collect_report
from ops.report.model import SyncReport
from ops.report.page import PAGE_BEGINNING, render_page

__all__ = ["PAGE_BEGINNING", "SyncReport", "collect_report", "render_page"]
