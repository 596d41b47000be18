"""Builds of a tiny site that are killed: another program than Jupyter Book copies a note."""

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path

from fpbook.build import site

NOTE = Path("chapters") / "note.txt"
PAGES = 6
# It lives on when the build is killed, for as long as it takes to begin another.
PROGRAM = f"""#!/bin/sh
html="$4/_build/html"
mkdir -p "$html"
for i in $(seq {PAGES}); do cp "$2/{NOTE}" "$html/$i.html"; sleep 0.01; done
cp "$2/{NOTE}" "$html/index.html"
"""
EVENTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "subprocess.Popen")


def write_program(folder: Path) -> None:
    """The program that stands for Jupyter Book, beside a Python of its folder."""
    folder.mkdir()
    (folder / "jupyter-book").write_text(PROGRAM)
    (folder / "jupyter-book").chmod(0o755)


def build_site(root: Path, ready=None, event: int | None = None) -> None:
    """Build the site of a book of one chapter; kill this process at the nth change of files."""
    sys.executable = str(root / "bin" / "python")
    site.fetch = lambda root: None
    site.search_texts = lambda html: None
    site.assemble = lambda source, profile, packages, root: shutil.copytree(
        root / "chapters", source / "chapters"
    )
    if event is not None:
        left = itertools.count(event, -1)

        def count(name: str, arguments: tuple) -> None:
            if name in EVENTS and next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
    if ready is not None:
        ready.set()
    site.build("quick", root)
