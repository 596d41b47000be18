"""A report at a glance, in a notebook: its ten lines, and one small chart."""

from collections.abc import Mapping
from html import escape
from typing import Any


def glance(content: Mapping[str, Any]) -> str:
    """HTML of a report for a notebook's cell: summary and chart, no script, no outside file.

    content  of the report
    """
    from fpcore.reporting.page import figure  # here: its templates are wanted by nobody else

    lines = "".join(f"<li>{escape(line)}</li>" for line in content["summary"])
    return (
        f'<div class="fpcore-report"><ol>{lines}</ol>{figure(content)}'
        f"<p>{len(content['notes'])} notes say what may not be concluded: "
        f"<code>report.notes</code>. The whole page: <code>report.save(folder)</code>.</p></div>"
    )
