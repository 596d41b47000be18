"""The report on two networks: what is measured of them, and the page that shows it."""

from fpcore.reporting.assembly import report, report_on
from fpcore.reporting.result import Report
from fpcore.reporting.subjects import Labelled, Subjects

__all__ = ["Labelled", "Report", "Subjects", "report", "report_on"]
