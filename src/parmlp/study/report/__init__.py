"""The report of a run: one self-contained page, its figures and their data."""

from parmlp.study.report.writer import Report, write_report

__all__ = ["Report", "write_report"]
