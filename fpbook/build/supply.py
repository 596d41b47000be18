"""What the book is made with: its bill of materials, and what is known against it.

python -m fpbook sbom writes the former in CycloneDX; python -m fpbook audit asks for the latter.
"""

import argparse
import base64
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fpbook.build.chapters import BookError
from fpbook.results.files import ROOT

PYTHON_LOCK, NPM_LOCK = "requirements.lock", "package-lock.json"
SBOM = ROOT / "_build" / "sbom.cdx.json"
PIP_AUDIT = "pip-audit==2.10.1"  # installed into a folder of its own
_LOCKED = re.compile(r"^([\w.-]+)==(\S+)(.*)", re.M)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Package:
    """A package that is installed.

    kind:    "pypi" or "npm"
    name:    as its registry has it
    version: the one that is pinned
    hashes:  of its files, in hexadecimal, {(algorithm, digest)}
    """

    kind: str
    name: str
    version: str
    hashes: tuple[tuple[str, str], ...]

    @property
    def purl(self) -> str:
        """Its package URL: what databases of known faults call it."""
        return f"pkg:{self.kind}/{self.name.replace('@', '%40')}@{self.version}"


def locked(root: Path = ROOT) -> list[Package]:
    """Every package of the two lock files, with its hashes.

    root: of the repository

    Raises BookError for a package of requirements.lock without a hash.
    """
    found, lines = [], (root / PYTHON_LOCK).read_text().replace("\\\n", " ")
    for name, pinned, rest in _LOCKED.findall(lines):
        hashes = tuple(("SHA-256", digest) for digest in _HASH.findall(rest))
        if not hashes:
            raise BookError(f"{PYTHON_LOCK}: {name} has no hash, make the file anew as it says")
        found.append(Package("pypi", re.sub(r"[-_.]+", "-", name).lower(), pinned, hashes))
    packages = json.loads((root / NPM_LOCK).read_text())["packages"]
    for place, package in packages.items():
        if place:  # "" is the book itself
            name = place.rpartition("node_modules/")[2]
            algorithm, _, digest = package["integrity"].partition("-")
            shown = f"SHA-{algorithm.removeprefix('sha')}", base64.b64decode(digest).hex()
            found.append(Package("npm", name, package["version"], (shown,)))
    return [*{one.purl: one for one in found}.values()]  # npm has some in several places


def bill_of_materials(packages: Sequence[Package]) -> dict[str, Any]:
    """The packages as CycloneDX 1.6 has them; the same packages give the same bill.

    packages: of `locked`

    Source: https://cyclonedx.org/docs/1.6/json
    """
    book = {"type": "application", "name": "fpcore", "version": version("fpcore")}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**book, "bom-ref": "fpcore"}},
        "components": [
            {
                "type": "library",
                "bom-ref": one.purl,
                "name": one.name,
                "version": one.version,
                "purl": one.purl,
                "hashes": [{"alg": kind, "content": digest} for kind, digest in one.hashes],
            }
            for one in packages
        ],
    }


def main_sbom(arguments: Sequence[str]) -> None:
    """The command `sbom`: write the bill of materials."""
    parser = argparse.ArgumentParser(prog="python -m fpbook sbom", description=__doc__)
    parser.add_argument("--out", type=Path, default=SBOM, help=f"the file (default: {SBOM})")
    out = parser.parse_args(arguments).out
    packages = locked()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(bill_of_materials(packages), indent=1) + "\n")
    print(f"{out}: {len(packages)} packages")


def python_faults(report: str) -> list[str] | None:
    """Known faults by pip-audit's report in JSON, a line each; None if there is no report."""
    try:
        packages = json.loads(report)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return None
    return [
        f"{one['name']} {one['version']}: {fault['id']}, mended in "
        f"{', '.join(fault.get('fix_versions', [])) or 'no version yet'}"
        for one in packages
        for fault in one.get("vulns", [])
    ]


def npm_faults(report: str) -> list[str] | None:
    """Known faults by npm's report in JSON, a line each; None if there is no report."""
    try:
        found = json.loads(report)["vulnerabilities"]
    except (ValueError, KeyError, TypeError):
        return None
    return [f"{name}: {one['severity']}, versions {one['range']}" for name, one in found.items()]


def main_audit(arguments: Sequence[str]) -> int:
    """The command `audit`; 1 if there are known faults, 0 if none or no database was reached."""
    description = "Ask the databases of known faults about all that is pinned."
    argparse.ArgumentParser(prog="python -m fpbook audit", description=description).parse_args(
        arguments
    )
    status = 0
    for title, report, read in (
        ("Python packages", _pip_audit(), python_faults),
        ("npm packages", _run(["npm", "audit", "--package-lock-only", "--json"]), npm_faults),
    ):
        faults = read(report)
        if faults is None:
            print(f"{title}: the database could not be reached, so nothing is known")
            continue
        print(f"{title}: {len(faults)} known faults", *faults, sep="\n  ")
        status |= bool(faults)
    return int(status)


def _pip_audit() -> str:
    """What pip-audit says in JSON; "" if it cannot be had, or reaches no database."""
    tool = ROOT / "_build" / "audit"
    python = tool / "bin" / "python"
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(tool)])
    _run([str(python), "-m", "pip", "install", "--quiet", PIP_AUDIT])
    options = ["--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off"]
    return _run([str(python), "-m", "pip_audit", "-r", PYTHON_LOCK, *options])


def _run(command: list[str]) -> str:
    """What a command prints, whatever its status; "" if there is none, or it takes too long."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
