"""What is installed is named by version and hash, and what is known against it is asked for."""

import json
import re

import pytest
import yaml

from fpbook.build import supply
from fpbook.build.chapters import BookError
from fpbook.build.supply import bill_of_materials, locked, npm_faults, python_faults
from fpbook.results.files import ROOT

PIN = re.compile(r"^([\w.-]+)==(\S+)", re.M)


def pins(name):
    """{a package's name, as all spellings are compared: its version} of a file."""
    found = PIN.findall((ROOT / name).read_text())
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_lock_names_each_pinned_package_with_its_hashes_and_the_pinned_version():
    found = {one.name: one for one in locked() if one.kind == "pypi"}
    pinned = pins("constraints.txt") | pins("requirements.txt")
    assert {name: found[name].version for name in pinned} == pinned
    assert {*found} - {*pinned} <= {"setuptools", "wheel"}
    assert all(one.hashes for one in found.values())
    assert not re.search(r"https?://|^-", (ROOT / "requirements.lock").read_text(), re.M)


def test_a_package_without_a_hash_is_an_error_that_names_it(tmp_path):
    (tmp_path / "requirements.lock").write_text("six==1.17.0\n")
    with pytest.raises(BookError, match="six has no hash"):
        locked(tmp_path)


def test_the_bill_names_every_package_once_by_its_url(tmp_path, capsys):
    supply.main_sbom(["--out", str(tmp_path / "bill.json")])
    bill = json.loads((tmp_path / "bill.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    urls = [one["purl"] for one in bill["components"]]
    assert len(urls) == len({*urls}) == len(locked()) > 200
    assert "pkg:pypi/torch@2.14.0" in urls and "pkg:npm/mathjax@3.2.2" in urls
    assert "pkg:npm/%40jupyter-widgets/html-manager@1.0.15" in urls
    for one in bill["components"]:
        length = {"SHA-256": 64, "SHA-512": 128, "SHA-1": 40}
        assert all(len(h["content"]) == length[h["alg"]] for h in one["hashes"])
    assert (
        bill == bill_of_materials(locked()) and f"{len(urls)} packages" in capsys.readouterr().out
    )


PYTHON = {"dependencies": [{"name": "six", "version": "1", "vulns": [{"id": "X-1"}]}]}
NPM = {"vulnerabilities": {"mathjax": {"severity": "high", "range": "<4"}}}


@pytest.mark.parametrize(
    ("python", "npm", "status", "says"),
    [
        ("", "", 0, "could not be reached"),
        ('{"dependencies": []}', '{"vulnerabilities": {}}', 0, "Python packages: 0 known"),
        (json.dumps(PYTHON), "", 1, "six 1: X-1, mended in no version yet"),
        ("", json.dumps(NPM), 1, "mathjax: high, versions <4"),
        ("no JSON", '{"error": {"code": "ENOTFOUND"}}', 0, "could not be reached"),
    ],
)
def test_known_faults_are_told_and_databases_out_of_reach_as_well(
    python, npm, status, says, monkeypatch, capsys
):
    monkeypatch.setattr(supply, "_pip_audit", lambda: python)
    monkeypatch.setattr(supply, "_run", lambda _: npm)
    assert supply.main_audit([]) == status
    assert says in capsys.readouterr().out


def test_reports_that_are_none_say_nothing():
    for text in ("", "[]", "null", "{}"):
        assert python_faults(text) is None and npm_faults(text) is None


def test_workflows_may_only_read_and_use_actions_by_commit():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}, path
        for job in workflow["jobs"].values():
            assert "permissions" not in job
            for step in job["steps"]:
                if "uses" in step:
                    assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
                if step.get("uses", "").startswith("actions/checkout"):
                    assert step["with"]["persist-credentials"] is False
