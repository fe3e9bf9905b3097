"""Self-contained HTML reports of runs.

A path is read (`read_report`) into frozen records of sections (`gnas.report.page`), which
`write_report` makes a page of by templates and a chart library that ship with the package.
"""

from gnas.report.reading import read_report
from gnas.report.writing import watch_report, write_report

__all__ = ["read_report", "watch_report", "write_report"]
