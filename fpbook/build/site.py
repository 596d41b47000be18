"""The site: executed chapters and pages in, a strict HTML build out that needs neither kernel nor network.

python -m fpbook build
python -m fpbook pdf
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import yaml
from playwright.sync_api import sync_playwright
from pypdf import PdfWriter

from fpbook.build.execute import BookError, chapters, executed, guard
from fpbook.build.pages import generate, table_of_contents
from fpbook.figures.style import PROFILES
from fpbook.results.files import ROOT
from fpcore import checks

CDN = "https://cdn.jsdelivr.net/npm"
SCRIPTS = {
    "mathjax": "es5/tex-svg.js",
    "@jupyter-widgets/html-manager": "dist/embed.js",
}  # what pages load, by package
# The theme's icons twice over: 1.5 MB of script, and fonts fetched in a way that browsers refuse from disk. The styles suffice.
NEEDLESS = re.compile(
    r'<link rel="preload" as="font"[^>]*>|<script src="[^"]*fontawesome[^"]*"></script>'
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
INPUTS = (
    "chapters",
    "pages",
    "_static",
    "fpcore",
    "fpbook",
    "results",
    "_toc.yml",
    "_config.yml",
    "requirements.txt",
    "constraints.txt",
)
PACKAGES = ("package.json", "package-lock.json")


def build(profile: str, root: Path = ROOT) -> Path:
    """Build the HTML, strictly, from the executed notebooks, unless nothing changed; return its opening page."""
    if int(version("jupyter-book").split(".")[0]) != 1:
        raise BookError(
            f"jupyter-book {version('jupyter-book')} ignores _config.yml: install jupyter-book<2"
        )
    for notebook in chapters(root):
        guard(executed(notebook, profile, root))
    source, staging, site = (root / "_build" / name for name in ("source", "staging", "html"))
    packages = fetch(root)
    digest = site_key(profile, packages is not None, root)
    if (site / ".key").exists() and (site / ".key").read_text() == digest:
        return site / "index.html"
    shutil.rmtree(
        source, ignore_errors=True
    )  # an incremental build would keep a stale table of contents
    shutil.rmtree(staging, ignore_errors=True)
    assemble(source, profile, packages, root)
    command = [
        str(Path(sys.executable).with_name("jupyter-book")),
        "build",
        str(source),
        "--path-output",
        str(staging),
    ]
    log = root / "_build" / "build.log"
    with log.open("w") as file:
        done = subprocess.run(
            [*command, "-W", "-n", "--keep-going", "--all"], stdout=file, stderr=subprocess.STDOUT
        )
    if done.returncode:
        warnings = [
            line
            for line in log.read_text().splitlines()
            if "WARNING" in line or "ERROR" in line or "rror:" in line
        ]
        raise BookError(
            "the strict build failed:\n" + "\n".join(warnings) + f"\nThe whole log is {log}"
        )
    for page in (staging / "_build" / "html").rglob("*.html"):
        page.write_text(NEEDLESS.sub("", page.read_text()))
    (staging / "_build" / "html" / ".key").write_text(digest)
    shutil.rmtree(site, ignore_errors=True)
    os.replace(staging / "_build" / "html", site)
    return site / "index.html"


def site_key(profile: str, offline: bool, root: Path = ROOT) -> str:
    """A digest of all that decides what the site looks like; `offline`: it brings its scripts along."""
    named = [root / name for name in (*INPUTS, *PACKAGES)]
    found = [
        path for one in named for path in [one, *one.rglob("*")] if "__pycache__" not in path.parts
    ]
    digest = hashlib.sha256(f"{profile} {offline}".encode())
    for path in [
        *sorted(p for p in found if p.is_file()),
        *(executed(n, profile, root) for n in chapters(root)),
    ]:
        digest.update(
            str(path.relative_to(root)).encode() + hashlib.sha256(path.read_bytes()).digest()
        )
    return digest.hexdigest()


def fetch(root: Path = ROOT) -> Path | None:
    """The npm packages that package-lock.json pins, fetched once; None, with a message, where npm cannot fetch them."""
    packages, lock = root / "_build" / "npm", (root / "package-lock.json").read_bytes()
    stamp = packages / ".fetched"
    if stamp.exists() and stamp.read_bytes() == lock:
        return packages / "node_modules"
    packages.mkdir(parents=True, exist_ok=True)
    for name in PACKAGES:
        shutil.copy(root / name, packages)
    command = [
        "npm",
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--silent",
        "--prefer-offline",
    ]
    try:
        subprocess.run(command, cwd=packages, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(
            f"pages will load formulas and widgets from a CDN, and not work offline: npm could not fetch them ({error})"
        )
        return None
    stamp.write_bytes(lock)
    return packages / "node_modules"


def assemble(source: Path, profile: str, packages: Path | None, root: Path = ROOT) -> None:
    """Lay out all that Jupyter Book reads: pages, executed chapters, tables made from them, scripts, configuration."""
    for name in ("chapters", "pages", "_static"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("*.ipynb", ".*"))
    shutil.copy(
        root / "results" / "headline.png", source / "_static" / "preview.png"
    )  # what links to the site show
    shutil.copy(root / "_toc.yml", source)
    notebooks = {n: nbformat.read(executed(n, profile, root), 4) for n in chapters(root)}
    for path, notebook in notebooks.items():
        describe_figures(notebook)
        nbformat.write(notebook, source / path.relative_to(root))
    generate(source, notebooks, root)
    config = yaml.safe_load((root / "_config.yml").read_text())
    config["sphinx"]["config"] |= scripts(source / "extra", packages, root)
    (source / "_config.yml").write_text(yaml.safe_dump(config))


def describe_figures(notebook: nbformat.NotebookNode) -> None:
    """Give each figure of an executed notebook its text form (see figures.describe) as alternative text, in place."""
    for cell in notebook.cells:
        shown = [o.data for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
        if shown:
            cell.metadata["mystnb"] = {
                "image": {"alt": "; ".join(data.get("text/plain", "") for data in shown)}
            }


def scripts(extra: Path, packages: Path | None, root: Path = ROOT) -> dict[str, Any]:
    """Sphinx's settings for the formula renderer and the widget manager: copied into the site, else from the CDN."""
    versions = json.loads((root / "package.json").read_text())["dependencies"]
    urls = {}
    for package, file in SCRIPTS.items():
        if packages:
            target = extra / "vendor" / package / Path(file).name
            target.parent.mkdir(parents=True)
            for needed in (
                packages / package / file,
                *(packages / package / file).parent.glob("*.woff2"),
            ):
                shutil.copy(needed, target.parent)
            urls[package] = f"../{target.relative_to(extra)}"
        else:
            urls[package] = f"{CDN}/{package}@{versions[package]}/{file}"
    settings = {
        "mathjax_path": urls["mathjax"],
        "nb_ipywidgets_js": {urls["@jupyter-widgets/html-manager"]: {}},
    }
    return settings | ({"html_extra_path": [str(extra)]} if packages else {})


def chromium() -> str | None:
    """The browser that prints and tests the site: $CHROMIUM, else the system's."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def pdf(site: Path, root: Path = ROOT) -> Path:
    """Print all pages of the site, in the order of the contents, into one file with a bookmark for each; return it."""
    if not (browser := chromium()):
        raise BookError("a PDF needs Chromium: install it, or name its executable in CHROMIUM")
    book, printed, target = PdfWriter(), root / "_build" / "page.pdf", root / "_build" / "book.pdf"
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=list(FLAGS)).new_page()
        page.set_default_timeout(120_000)
        for file in table_of_contents(root):
            page.goto((site / f"{file}.html").as_uri())
            page.evaluate("window.MathJax?.startup?.promise")
            page.pdf(
                path=printed,
                format="A4",
                print_background=True,
                margin={"top": "15mm", "bottom": "15mm"},
            )
            book.append(printed, outline_item=page.title().split(" \u2014 ")[0])
    book.remove_links()  # they point to files of this machine
    book.write(target)
    printed.unlink()
    return target


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m fpbook", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("action", choices=("build", "pdf"))
    parser.add_argument("--profile", default="quick", help=f"one of {', '.join(PROFILES)}")
    options = parser.parse_args(arguments)
    try:
        checks.choice("profile", options.profile, PROFILES)
        index = build(options.profile)
        print(
            f"The book is ready: open {index if options.action == 'build' else pdf(index.parent)}"
        )
    except (BookError, ValueError) as error:
        sys.exit(f"{error}")
