"""Build the site: executed chapters and pages in, strict HTML out, for no kernel and no network."""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import yaml
from playwright.sync_api import sync_playwright
from pypdf import PdfWriter

from fpbook.build.cards import search_texts, write_cards
from fpbook.build.chapters import BookError, chapters, executed, in_todays_layout
from fpbook.build.downloads import copy_results
from fpbook.build.pages import generate, table_of_contents
from fpbook.build.validate import guard
from fpbook.figures.style import PROFILES
from fpbook.results.checksums import is_sealed
from fpbook.results.files import ROOT, folder
from fpbook.results.transaction import LOCK, held
from fpbook.results.verify import check_results
from fpcore import checks

CDN = "https://cdn.jsdelivr.net/npm"
SCRIPTS = {  # what pages load, by package
    "mathjax": "es5/tex-svg.js",
    "@jupyter-widgets/html-manager": "dist/embed.js",
}
# The theme's icons twice over: 1.5 MB of script, and fonts fetched in a way that browsers refuse
# from disk. The styles suffice.
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
    "CHANGELOG.md",
)
WORK = ".site-"  # begins the name of the folder that a build works in
NPM_FILES = ("package.json", "package-lock.json")


def build(profile: str, root: Path = ROOT) -> Path:
    """Build the HTML, strictly, unless nothing changed; return its opening page.

    Of two builds at once, one waits for the other.
    """
    if int(version("jupyter-book").split(".")[0]) != 1:
        found = f"jupyter-book {version('jupyter-book')}"
        raise BookError(f"{found} ignores _config.yml: install jupyter-book<2")
    with held(root / "_build" / ".site.lock", "waiting: another process builds the site"):
        return _build(profile, root)


def _build(profile: str, root: Path) -> Path:
    for notebook in chapters(root):
        path = executed(notebook, profile, root)
        guard(path)
        if not is_sealed(path.read_bytes()):
            raise BookError(
                f"{path} is damaged, as its checksum says, or has none: "
                "execute it again (make book)"
            )
    site = root / "_build" / "html"
    packages = fetch(root)
    digest = site_key(profile, packages is not None, root)
    if (site / ".key").exists() and (site / ".key").read_text() == digest:
        return site / "index.html"
    for left in (root / "_build").glob(f"{WORK}*"):  # by a build that was killed
        shutil.rmtree(left, ignore_errors=True)
    # From nothing: an incremental build would keep a stale table of contents. In a folder of its
    # own: the Jupyter Book of a build that was killed may still be writing.
    work = Path(tempfile.mkdtemp(prefix=WORK, dir=root / "_build"))
    assemble(work / "source", profile, packages, root)
    html = jupyter_book(work / "source", work / "staging", root / "_build" / "build.log")
    search_texts(html)
    (html / ".key").write_text(digest)
    if site.exists():  # moved away as a whole: half deleted, it would still have its key
        os.replace(site, work / "old")
    os.replace(html, site)
    shutil.rmtree(work)
    return site / "index.html"


def jupyter_book(source: Path, output: Path, log: Path, strict: bool = True) -> Path:
    """Run Jupyter Book; return the folder of its pages, without what they need not load.

    source: the folder that it reads
    output: the folder that it writes
    log:    where its output goes
    strict: whether a warning is a BookError
    """
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", str(source), "--path-output", str(output), "--all"]
    if strict:
        command += ["-W", "-n", "--keep-going"]
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
    if done.returncode:
        signs = ("WARNING", "ERROR", "rror:")
        lines = log.read_text().splitlines()
        warnings = "\n".join(line for line in lines if any(sign in line for sign in signs))
        raise BookError(f"the strict build failed:\n{warnings}\nThe whole log is {log}")
    html = output / "_build" / "html"
    for page in html.rglob("*.html"):
        page.write_text(NEEDLESS.sub("", page.read_text()))
    return html


def site_key(profile: str, offline: bool, root: Path = ROOT) -> str:
    """A digest of what decides the site's looks; `offline`: it brings its scripts along."""
    named = [root / name for name in (*INPUTS, *NPM_FILES)]
    found = [
        path for one in named for path in [one, *one.rglob("*")] if "__pycache__" not in path.parts
    ]
    found = [path for path in found if path.name != LOCK]  # of results
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
    """The npm packages that package-lock.json pins, fetched once; None, with a message, without."""
    packages = root / "_build" / "npm"
    lock = (root / "package-lock.json").read_bytes()
    stamp = packages / ".fetched"
    if stamp.exists() and stamp.read_bytes() == lock:
        return packages / "node_modules"
    packages.mkdir(parents=True, exist_ok=True)
    for name in NPM_FILES:
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
            "pages will load formulas and widgets from a CDN, and not work offline: "
            f"npm could not fetch them ({error})"
        )
        return None
    stamp.write_bytes(lock)
    return packages / "node_modules"


def assemble(source: Path, profile: str, packages: Path | None, root: Path = ROOT) -> None:
    """Lay out all that Jupyter Book reads: pages, executed chapters, tables, scripts, settings."""
    for name in ("chapters", "pages", "_static"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("*.ipynb", ".*"))
    # What links to the site show.
    shutil.copy(root / "results" / "headline.png", source / "_static" / "preview.png")
    shutil.copy(root / "_toc.yml", source)
    notebooks = {n: nbformat.read(executed(n, profile, root), 4) for n in chapters(root)}
    for path, notebook in notebooks.items():
        describe_figures(notebook)
        nbformat.write(notebook, source / path.relative_to(root))
    generate(source, notebooks, root)
    write_cards(source)
    copy_results(source / "extra" / "results")
    config = yaml.safe_load((root / "_config.yml").read_text())
    config["sphinx"]["config"] |= scripts(source / "extra", packages, root)
    (source / "_config.yml").write_text(yaml.safe_dump(config))


def describe_figures(notebook: nbformat.NotebookNode) -> None:
    """Give each figure its text form as alternative text, and drop what is not shown, in place.

    See figures.style.describe.
    """
    for cell in notebook.cells:
        shown = [o.data for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
        if shown:
            text = "; ".join(data.get("text/plain", "") for data in shown)
            cell.metadata["mystnb"] = {"image": {"alt": text}}
        if "remove-stderr" in cell.metadata.get("tags", []):  # which leaves an empty frame
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]


def scripts(extra: Path, packages: Path | None, root: Path = ROOT) -> dict[str, Any]:
    """Sphinx's settings for formulas and widgets: scripts copied into the site, else a CDN's."""
    versions = json.loads((root / "package.json").read_text())["dependencies"]
    urls = {}
    for package, file in SCRIPTS.items():
        if packages is None:
            urls[package] = f"{CDN}/{package}@{versions[package]}/{file}"
            continue
        script = packages / package / file
        target = extra / "vendor" / package / script.name
        target.parent.mkdir(parents=True)
        for needed in (script, *script.parent.glob("*.woff2")):
            shutil.copy(needed, target.parent)
        urls[package] = f"../{target.relative_to(extra)}"
    widgets = urls["@jupyter-widgets/html-manager"]
    return {
        "mathjax_path": urls["mathjax"],
        "nb_ipywidgets_js": {widgets: {}},
        "html_extra_path": [str(extra)],
    }


def chromium() -> str | None:
    """The browser that prints and tests the site: $CHROMIUM, else the system's."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def pdf(site: Path, root: Path = ROOT) -> Path:
    """Print all pages of the site, in the order of the contents, into one file; return it."""
    if not (browser := chromium()):
        raise BookError("a PDF needs Chromium: install it, or name its executable in CHROMIUM")
    book = PdfWriter()
    printed = root / "_build" / "page.pdf"
    target = root / "_build" / "book.pdf"
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


def _built(command: str, description: str, arguments: list[str]) -> Path:
    """The opening page of the site, built as the command line says."""
    parser = argparse.ArgumentParser(prog=f"python -m fpbook {command}", description=description)
    parser.add_argument("--profile", default="quick", help=f"one of {', '.join(PROFILES)}")
    options = parser.parse_args(arguments)
    checks.choice("profile", options.profile, PROFILES)
    if (results := in_todays_layout(folder(), ROOT / "_build")) != folder():
        os.environ["FPCORE_RESULTS"] = str(results)
    check_results()  # a site shows no damaged number
    return build(options.profile)


def main(arguments: list[str]) -> None:
    """The command `build`."""
    print(f"The book is ready: open {_built('build', __doc__ or '', arguments)}")


def main_pdf(arguments: list[str]) -> None:
    """The command `pdf`."""
    index = _built("pdf", "Build the site and print it into one file.", arguments)
    print(f"The book is ready: open {pdf(index.parent)}")
