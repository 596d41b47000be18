"""Measured numbers: recorded, summarised, published, shown, and held against the claims."""

from fpbook.results.cards import ledger_cards, verdict_badge
from fpbook.results.columns import rows, select
from fpbook.results.intervals import Interval, interval
from fpbook.results.ledger import claims, ledger_sources, verdict_counts
from fpbook.results.publishing import publish
from fpbook.results.records import record, table
from fpbook.results.sources import quoted, source_of
from fpbook.results.store import (
    publish_arrays,
    publish_figure,
    published,
    published_arrays,
    published_with_arrays,
)
from fpbook.results.summaries import Pick, joined, number, pick, summarise, summary_table
from fpbook.results.tables import beside, comparison, show

__all__ = [
    "Interval",
    "Pick",
    "beside",
    "claims",
    "comparison",
    "interval",
    "joined",
    "ledger_cards",
    "ledger_sources",
    "number",
    "pick",
    "publish",
    "publish_arrays",
    "publish_figure",
    "published",
    "published_arrays",
    "published_with_arrays",
    "quoted",
    "record",
    "rows",
    "select",
    "show",
    "source_of",
    "summarise",
    "summary_table",
    "table",
    "verdict_badge",
    "verdict_counts",
]
