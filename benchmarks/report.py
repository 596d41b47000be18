"""How long the report takes, and what a researcher would otherwise pick takes on the same pairs.

    pip install --no-deps --requirement requirements-bench.txt
    python benchmarks/report.py [SUBJECT ...]

Each subject of `subjects.py` runs in a process of its own, one after the other, on two threads.
`benchmarks/report.json` gets the hardware, the versions, and one row a subject: seconds of wall
clock and of CPU of the call alone, and the peak memory of the whole process, Python and PyTorch
included. With names of subjects only these are measured; the other rows stay. $FPCORE_DATA names
the folder of CIFAR-10; without it images are random.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import hardware, versions

HERE = Path(__file__).resolve().parent
OUT = HERE / "report.json"
THREADS = 2
LIMIT = 720  # seconds that a subject may take
PACKAGES = ("torch", "torchvision", "numpy", "pytorch-cka")
SUBJECTS = (  # as `subjects.py` names them
    "resnet50-report",
    "vit_b_16-report",
    "resnet50-cka",
    "cifar-cka",
    "cifar-report",
)


def measured(subject: str) -> dict[str, Any]:
    """The row of a subject, which runs in a process of its own.

    subject  its name in `subjects.py`

    One that takes longer than `LIMIT` is stopped; its row says so and has no numbers.
    """
    root = str(HERE.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    threads = str(THREADS)
    # Threads that wait do not spin: beside other work that would multiply all times.
    quiet = {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"}
    environment = {**os.environ, "PYTHONPATH": path, **quiet}
    load = round(os.getloadavg()[0], 1)
    command = [sys.executable, str(HERE / "subjects.py"), subject, threads]
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, timeout=LIMIT, check=True
        )
    except subprocess.TimeoutExpired:
        numbers = dict.fromkeys(("wall_s", "cpu_s", "peak_gb", "images"))
        row = {"tool": "", **numbers, "note": f"stopped after {LIMIT} seconds"}
    else:
        row = json.loads(done.stdout.splitlines()[-1])
    return {"subject": subject, **row, "load": load}


def main(names: list[str]) -> None:
    """Measure the subjects of these names, all if there are none, and write the file."""
    unknown = sorted(set(names) - set(SUBJECTS))
    if unknown:
        raise SystemExit(f"subject = {unknown[0]!r}: give some of {', '.join(SUBJECTS)}")
    before = json.loads(OUT.read_text())["rows"] if OUT.exists() else []
    rows = {row["subject"]: row for row in before}
    for subject in names or SUBJECTS:
        rows[subject] = measured(subject)
        print(rows[subject], flush=True)
        content = {
            "hardware": hardware(THREADS),
            "versions": versions(PACKAGES),
            "rows": [rows[name] for name in SUBJECTS if name in rows],
        }
        OUT.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
