"""Published results survive kills, other writers, readers, flipped bits and full disks.

FPCORE_FAULTS=200 kills so many writers at random moments, rather than 40.
"""

import errno
import os
import random
import shutil
import time

import pytest
from counting import count
from forked import CONTEXT
from forked import start as forked
from publishers import (
    CLAIMS,
    publish_all_of,
    publish_and_die,
    publish_for_ever,
    publish_in_turns,
    publish_value,
    value_claimed,
    value_found,
)

from fpbook.results import ledger, publish_figure, published, published_arrays, transaction
from fpbook.results.checksums import is_sealed, sealed
from fpbook.results.files import ROOT
from fpbook.results.ledger_file import published_claims
from fpbook.results.store import BINARY, read_checked
from fpbook.results.transaction import COMMITTED, LOCK, STAGED
from fpbook.results.verify import check_results, main

KILLS = int(os.environ.get("FPCORE_FAULTS", "40"))
pytestmark = pytest.mark.counted


@pytest.fixture
def small(results, monkeypatch):
    """The results folder; the ledger has one claim, and git is not asked."""
    (results.parent / "claims.toml").write_text(CLAIMS)
    monkeypatch.setattr(ledger, "CLAIMS", results.parent / "claims.toml")
    monkeypatch.setattr("fpbook.results.provenance._commit", lambda: "abc")
    return results


@pytest.fixture
def start():
    """A function that starts a process; what still runs at the end of the test is killed."""
    started = []

    def run(target, *arguments):
        started.append(forked(target, *arguments))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.join()


def files(where):
    return {p.name: p.read_bytes() for p in where.iterdir() if p.is_file() and p.name != LOCK}


def read_whole(first):
    """The one value of result, arrays and ledger; `first` says which of them is read first."""
    reads = [value_found, value_claimed]
    values = [read() for read in (reads if first else reads[::-1])]
    assert len({*values}) == 1, values
    return values[0]


# --- Kills


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are started by forking")
def test_a_writer_killed_at_any_touch_of_a_file_leaves_all_old_or_all_new(small, start):
    old, event, outcomes = 0.25, 0, []
    publish_value(old)
    while True:
        new = 1 - old
        process = start(publish_and_die, small, new, event)
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -9
        if event % 3 == 2:  # the next to come is a writer
            publish_value(0.125)
            assert read_whole(event % 2) == 0.125
            old = 0.125
        else:
            found = read_whole(event % 2)
            assert found in (old, new)
            outcomes.append(found == new)
            old = found
        check_results()
        event += 1
    assert read_whole(0) == new and event > 20
    assert {*outcomes} == {False, True} and not (small / COMMITTED).exists()
    count("writers killed", event)


def test_a_writer_killed_at_random_leaves_all_old_or_all_new(small, start):
    rng, began = random.Random(0), time.monotonic()
    publish_value(0.5)
    seconds = time.monotonic() - began
    left, found = 0, set()
    for kill in range(KILLS):
        ready = CONTEXT.Event()
        process = start(publish_for_ever, small, ready)
        assert ready.wait(60)
        time.sleep(rng.uniform(0, 2 * seconds))
        process.kill()
        process.join()
        left += (small / STAGED).exists() or (small / COMMITTED).exists()
        found.add(read_whole(kill % 2))
        check_results()
    print(f"{KILLS} kills, {left} within the writing; {len(found)} values")
    publish_value(0.5)
    assert read_whole(0) == 0.5 and not (small / STAGED).exists()
    count("writers killed", KILLS)


# --- Several processes


def test_of_two_writers_each_finds_what_the_other_published(small, start):
    """One result from both, then one each: the ledger is made from the last of each."""
    for names in (("synthetic", "synthetic"), ("synthetic", "limits")):
        barrier = CONTEXT.Barrier(3)
        values = [[i / 64 + shift for i in range(20)] for shift in (0, 0.5)]
        for name, some in zip(names, values):
            start(publish_in_turns, small, some, name, barrier)
        for here, there in zip(*values):
            barrier.wait(60)
            barrier.wait(60)
            if names[0] == names[1]:
                assert read_whole(0) in (here, there)
            else:
                assert [value_found(name) for name in names] == [here, there]
                assert [value_claimed(name) for name in names] == [here, there]
        count("processes at once", len(values[0]))
    check_results()


def test_a_reader_beside_a_writer_finds_one_state_each_time(small, start):
    publish_value(0.0)
    writer = start(publish_all_of, small, [i / 64 for i in range(1, 33)])
    seen = []
    while writer.is_alive():
        seen.append(value_found())
        value_claimed()  # an error if it is not made from the results
    assert writer.exitcode == 0 and len(seen) > 10
    assert seen == sorted(seen) and read_whole(0) == 0.5
    count("processes at once", len(seen))


# --- Flipped bits


def flipped(content, rng):
    """The content with one bit flipped."""
    place = rng.randrange(8 * len(content))
    changed = bytearray(content)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def check_each_flip(path, read, times, seed=0):
    """Each of some flipped bits of a file makes `read` name the file, and `check_results`."""
    good, rng = path.read_bytes(), random.Random(seed)
    for flip in range(times):
        path.write_bytes(flipped(good, rng))
        with pytest.raises(ValueError, match=path.name.removesuffix(".sha256")):
            read()
        if flip % 20 == 0:
            with pytest.raises(ValueError, match=path.name.removesuffix(".sha256")):
                check_results()
    path.write_bytes(good)
    read()
    count("flipped bits", times)


def test_a_flipped_bit_is_noticed_in_every_kind_of_file(small):
    from matplotlib.figure import Figure

    publish_value(0.25)
    publish_figure("headline", Figure(figsize=(0.5, 0.5)))
    reads = {
        "synthetic.json": lambda: published("synthetic"),
        "synthetic.safetensors": lambda: published_arrays("synthetic"),
        "synthetic.safetensors.sha256": lambda: published_arrays("synthetic"),
        "headline.png": lambda: read_checked(small / "headline.png"),
        "headline.png.sha256": lambda: read_checked(small / "headline.png"),
    }
    assert {*files(small)} == {*reads, "claims.json"}
    for name, read in reads.items():
        check_each_flip(small / name, read, 60)
    check_results()


def test_a_flipped_bit_in_the_ledger_is_noticed_and_it_is_made_anew(small):
    publish_value(0.25)
    good, rng = (small / "claims.json").read_bytes(), random.Random(0)
    claims = published_claims()
    for flip in range(60):
        (small / "claims.json").write_bytes(flipped(good, rng))
        with pytest.warns(UserWarning, match=r"claims\.json .*made anew"):
            assert published_claims() == claims
        if flip % 20 == 0:
            with pytest.raises(ValueError, match=r"claims\.json"):
                check_results()
    publish_value(0.25)
    assert (small / "claims.json").read_bytes() == good
    count("flipped bits", 60)


def test_every_flipped_bit_of_a_sealed_text_is_noticed():
    content = sealed(b'{"content_sha256": "", "a": 1}')
    assert is_sealed(content)
    for place in range(8 * len(content)):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        assert not is_sealed(bytes(changed)), place
    count("flipped bits", 8 * len(content))


def test_flipped_bits_of_the_repositorys_results_are_noticed(results):
    shutil.copytree(ROOT / "results", results, dirs_exist_ok=True)
    rng = random.Random(0)
    for path in sorted(results.iterdir()):
        if path.name in (LOCK, "claims.json") or path.suffix not in (".json", *BINARY):
            continue
        good, name = path.read_bytes(), path.stem
        for _ in range(2):
            path.write_bytes(flipped(good, rng))
            with pytest.raises(ValueError, match=path.name):
                published(name) if path.suffix == ".json" else read_checked(path)
        path.write_bytes(good)
        count("flipped bits", 2)


# --- Files that do not belong together, or are lost


def test_the_repositorys_results_are_what_their_checksums_say(monkeypatch, capsys):
    monkeypatch.delenv("FPCORE_RESULTS", raising=False)
    monkeypatch.setattr("fpbook.results.verify.data_files", list)
    main([])
    count = len([p for p in (ROOT / "results").rglob("*") if p.suffix in (".json", *BINARY)])
    assert capsys.readouterr().out == f"{count} published files are sound\n" and count > 20


@pytest.mark.parametrize(
    "name", ["synthetic.json", "synthetic.safetensors", "synthetic.safetensors.sha256"]
)
def test_files_of_another_time_or_lost_ones_are_noticed(name, small):
    publish_value(0.25)
    old = (small / name).read_bytes()
    publish_value(0.5)
    (small / name).write_bytes(old)  # sound by itself, if it is no checksum
    with pytest.raises(ValueError, match=r"synthetic\.safetensors.*(restore|delete)"):
        published_arrays("synthetic")
    with pytest.raises(ValueError, match=r"synthetic"):
        check_results()
    (small / name).unlink()
    with pytest.raises(ValueError, match=r"synthetic|claims"):
        check_results()


def test_a_ledger_of_other_results_or_claims_is_made_anew(small):
    publish_value(0.25)
    old = (small / "claims.json").read_bytes()
    publish_value(0.75)
    (small / "claims.json").write_bytes(old)
    with pytest.warns(UserWarning, match=r"not made from synthetic\.json as it is now"):
        assert value_claimed() == 0.75
    (small / "claims.json").unlink()
    with pytest.warns(UserWarning, match=r"claims\.json"):
        assert value_claimed() == 0.75
    publish_value(0.75)
    assert value_claimed() == 0.75
    ledger.CLAIMS.write_text(CLAIMS.replace("0.5", "0.6"))
    with pytest.warns(UserWarning, match=r"not made from claims\.toml as it is now"):
        published_claims()


# --- Disks


@pytest.mark.parametrize("failing", range(4))
def test_on_a_full_disk_nothing_is_published_and_the_message_says_so(failing, small, monkeypatch):
    publish_value(0.25)
    before, calls = files(small), []

    def fsync(_):
        calls.append(None)
        if len(calls) > failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(ValueError, match=r"nothing is published .*No space left.*free space"):
            publish_value(0.5)
    assert files(small) == before and not (small / STAGED).exists()
    assert read_whole(0) == 0.25
    publish_value(0.5)
    assert read_whole(0) == 0.5
    count("disks")


@pytest.mark.parametrize("call", ["mkdir", "open", "rename"])
def test_in_a_folder_that_cannot_be_written_nothing_is_published(call, small, monkeypatch):
    publish_value(0.25)
    before, original = files(small), getattr(os, call)

    def refuse(path, *arguments, **more):
        writes = call != "open" or arguments[0] & (os.O_RDWR | os.O_CREAT)
        if str(path).startswith(str(small)) and str(path) != str(small) and writes:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return original(path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(ValueError, match=r"nothing is published .*Read-only.*FPCORE_RESULTS"):
            publish_value(0.5)
        assert read_whole(0) == 0.25
        check_results()
    assert files(small) == before
    count("disks")


def test_what_cannot_be_moved_into_place_waits_and_is_moved_by_the_next_reader(small, monkeypatch):
    publish_value(0.25)
    with monkeypatch.context() as patch:
        patch.setattr(transaction.os, "replace", _refuse_into(small, os.replace))
        with pytest.raises(ValueError, match=r"what is published waits in .*\.committed"):
            publish_value(0.5)
    assert value_found() == 0.5 == value_claimed()
    count("disks")


def _refuse_into(where, original):
    """os.replace, but not into a folder."""

    def replace(source, target):
        if target.parent == where:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
        return original(source, target)

    return replace


# --- What is refused


NAMES = ("", None, 3, "..", ".", "a..b", "../x", "a/b", "a\\b", ".x", "x.", "x.json", "-x", "x-")


@pytest.mark.parametrize("name", [*NAMES, "ä", "a b", "a\n", "a\0", "C:x", "claims"])
def test_a_name_that_is_no_plain_one_reaches_no_path(name, small):
    publish_value(0.25)
    before = {p: p.read_bytes() for p in small.parent.rglob("*") if p.is_file()}
    reads = (published, published_arrays, lambda given: publish_value(0.5, given))
    for use in (*reads, lambda given: publish_figure(given, None)):
        with pytest.raises(ValueError, match="name = "):
            use(name)
    assert {p: p.read_bytes() for p in small.parent.rglob("*") if p.is_file()} == before
    count("bad inputs", 4)


def test_arrays_are_not_left_beside_numbers_of_another_time(small):
    publish_value(0.25)
    before = files(small)
    with pytest.raises(ValueError, match=r"synthetic\.safetensors is of other numbers"):
        publish_value(0.5, arrays=False)
    publish_value(0.25, arrays=False)
    assert files(small) == before and read_whole(0) == 0.25
