"""A finished report: what is in it, how a notebook shows it, its files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpcore.checkpoint import write_atomically
from fpcore.reporting.glance import glance


@dataclass(frozen=True, repr=False)
class Report:
    """The report on a pair of networks; content is what report.json holds."""

    content: dict[str, Any]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Every measured number: quantity, network, layer, alpha, rank, threat, seed, value."""
        return self.content["records"]

    @property
    def summary(self) -> str:
        """Ten lines that say what was found."""
        return "\n".join(self.content["summary"])

    @property
    def notes(self) -> list[str]:
        """What may not be concluded."""
        return self.content["notes"]

    def __repr__(self) -> str:
        return self.summary

    def _repr_html_(self) -> str:
        return glance(self.content)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self.summary, "text/html": self._repr_html_()}

    def save(self, folder: str | Path) -> Path:
        """Write report.json and report.html into a folder, each whole or not at all.

        folder  made if it is not there

        Returns the path of report.html.
        """
        from fpcore.reporting.page import page  # here: its templates are wanted by nobody else

        root = Path(folder).expanduser()
        if root.exists() and not root.is_dir():
            raise ValueError(f"folder = {str(folder)!r}: it is a file, give a folder")
        text = json.dumps(self.content, indent=1, allow_nan=False)
        write_atomically(root / "report.json", text.encode())
        write_atomically(root / "report.html", page(self.content).encode())
        return root / "report.html"
