"""The networks of a seed, trained by two processes under torchrun, as by one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchrun
from cifar10_networks import random_images
from safetensors.torch import load_file

from fpbook.cifar10 import run_cifar
from fpbook.cifar10.together import process_group
from fpbook.results.files import ROOT


def test_torchrun_trains_what_one_process_does_and_keeps_it(tmp_path, monkeypatch):
    places = [str(ROOT), str(Path(torchrun.__file__).parent)]
    settings = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, torchrun.__file__],
        env=settings | {"FPCORE_CACHE": str(tmp_path / "two")},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    said = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert said == ["init", "clean", "purified", f"kept in {tmp_path / 'two'}"]  # by one of them
    monkeypatch.setenv("FPCORE_CACHE", str(tmp_path / "one"))
    nets = run_cifar(torchrun.SMALL, random_images(64), 0, ["purified"], progress=False)
    one, two = (sorted((tmp_path / name).iterdir()) for name in ("one", "two"))
    # The second stage is named after the weights that it starts from, to the last bit.
    assert one[0].name == two[0].name and len(one) == len(two) == 2
    for expected, found in zip(map(load_file, one), map(load_file, two)):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    moved = (nets["purified"].conv1.weight - nets["init"].conv1.weight).norm()
    assert moved > 0.005 * nets["init"].conv1.weight.norm()


def test_without_torchrun_this_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with process_group(torch.device("cpu")) as (device, rank):
        assert (device, rank) == (torch.device("cpu"), 0)
        assert not torch.distributed.is_initialized()


def test_a_profile_that_is_not_there_is_refused(capsys):
    with pytest.raises(SystemExit):
        torchrun.together.main(["--profile", "quik"])
    assert "invalid choice: 'quik'" in capsys.readouterr().err
