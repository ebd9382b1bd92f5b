"""A store, or the way to it, that fails in the middle of a load: what was fetched is not fetched again, and what came
is always the model. The store is a real one; a proxy before it does what a bad network does.
"""

from __future__ import annotations

import itertools
import json
import os
import threading

import pytest

from breaking_proxy import first_byte
from headrace_loader.load import partial_folder
from headrace_loader.ranges import PART_BYTES

LARGE = "onnx/model.onnx.data"
SIZE = 3 * PART_BYTES + 5
WAIT_SECONDS = 60.0


@pytest.fixture
def files():
    return {"onnx/model.onnx": b"graph", LARGE: os.urandom(SIZE), "signature.json": b"{}"}


def journal_of(loader) -> list[dict]:
    lines = (partial_folder(loader.target) / "journal").read_text().splitlines()
    return [json.loads(line) for line in lines[1:]]


def ranges_in(loader) -> int:
    """How many ranges of the large file are whole."""
    return sum(line["path"] == LARGE for line in journal_of(loader))


def present_in(loader) -> int:
    """How many bytes of the model are."""
    return sum(end - begin for line in journal_of(loader) for begin, end in line["spans"])


def assert_loaded(load, files):
    assert load.code == 0, load.log
    assert {path: content for path, content in load.files().items() if path != "manifest.json"} == files
    assert os.listdir(load.target.parent) == ["current"], "nothing is left beside it"


def test_a_large_file_comes_in_ranges_of_a_bounded_size(proxy, through, publisher, loader, files):
    load = loader.run(publisher.publish(files), storage=through)

    assert_loaded(load, files)
    ranges = sorted((first_byte(wanted), wanted) for _, _, wanted in proxy.requests if wanted)
    assert [wanted for _, wanted in ranges] == [
        f"bytes={begin}-{min(begin + PART_BYTES, SIZE) - 1}" for begin in range(0, SIZE, PART_BYTES)
    ]


def test_a_range_that_breaks_off_goes_on_at_the_byte_where_it_broke(proxy, through, publisher, loader, files):
    """Each answer of the large file gives three mebibytes at most, and every third connection breaks at once."""
    most, count = 3 << 20, [0]

    def breaks(_method, _query, wanted):
        count[0] += 1
        return bool(wanted) and count[0] % 3 == 0

    proxy.breaks = breaks
    proxy.pours = lambda path, _range, content: [content[:most] if path.endswith(LARGE) else content]

    load = loader.run(publisher.publish(files), storage=through)

    assert_loaded(load, files)
    assert load.record["fetchedBytes"] == sum(map(len, files.values())), "no byte was taken twice"
    begins = {first_byte(wanted) % PART_BYTES for _, _, wanted in proxy.requests if wanted}
    assert begins == {0, most, 2 * most}


def test_a_failure_for_good_ends_the_load_though_other_requests_hang(hold, through, publisher, loader, files):
    model = publisher.publish(files)
    publisher.delete(f"{model.prefix}/onnx/model.onnx")
    held = hold(LARGE, 0)

    load = loader.run(model, storage=through)

    assert not held.released.is_set()
    assert (load.code, load.record["reason"]) == (2, "FileNotFound")
    assert "onnx/model.onnx" in load.record["message"]


@pytest.fixture
def interrupted(hold, loader, proxy, through):
    """A loader of this model was killed when two ranges of the large file were whole, and others under way."""

    def interrupt(model) -> None:
        held = hold(LARGE, 2 * PART_BYTES)
        process = loader.start(model, storage=through)
        assert held.waits.wait(WAIT_SECONDS)
        loader.await_that(lambda: ranges_in(loader) == 2)
        process.kill()
        process.wait(10)
        held.released.set()
        proxy.pours = lambda _path, _range, content: [content]
        proxy.requests.clear()

    return interrupt


def test_a_loader_that_was_killed_goes_on_with_what_is_whole(interrupted, proxy, through, publisher, loader, files):
    model = publisher.publish(files)
    interrupted(model)
    assert not loader.target.exists()
    present = present_in(loader)

    load = loader.run(model, storage=through)

    assert_loaded(load, files)
    assert len([wanted for _, _, wanted in proxy.requests if wanted]) == 2, "of four ranges two lay there"
    assert load.record["bytes"] == sum(map(len, files.values()))
    assert load.record["fetchedBytes"] == load.record["bytes"] - present


def test_what_was_fetched_of_an_object_that_was_replaced_since_is_fetched_anew(
    interrupted, through, publisher, loader, files
):
    model = publisher.publish(files)
    publisher.put(f"{model.prefix}/{LARGE}", files[LARGE][::-1])  # somebody's mistake, which is put right later
    interrupted(model)
    publisher.put(f"{model.prefix}/{LARGE}", files[LARGE])

    assert_loaded(loader.run(model, storage=through), files)


def test_an_object_that_is_replaced_while_it_is_read_is_never_served(proxy, through, publisher, loader, files):
    model = publisher.publish(files)
    versions, turn = itertools.cycle([files[LARGE][::-1], files[LARGE]]), threading.Lock()

    def put_another_one(_method, _query, wanted):
        if wanted:
            turn.acquire()
            publisher.put(f"{model.prefix}/{LARGE}", next(versions))
        return False

    def pours(_path, wanted, content):
        if wanted:
            turn.release()
        yield content

    proxy.breaks, proxy.pours = put_another_one, pours

    load = loader.run(model, storage=through)

    assert (load.code, load.record["reason"]) == (2, "FileCorrupt")
    assert not load.target.exists()


@pytest.mark.parametrize("damage", ["changed", "cut off", "gone"])
def test_bytes_that_the_machine_lost_are_fetched_anew(interrupted, through, publisher, loader, files, damage):
    """The journal says that they lie there: a machine that goes down may not have written them to its disk."""
    model = publisher.publish(files)
    interrupted(model)
    victim = partial_folder(loader.target) / "files" / LARGE
    match damage:
        case "changed":
            victim.write_bytes(b"\0" * victim.stat().st_size)
        case "cut off":
            os.truncate(victim, 10)
        case _:
            victim.unlink()

    assert_loaded(loader.run(model, storage=through), files)


def test_a_store_that_stays_away_leaves_what_has_come_for_the_next_start(proxy, through, publisher, loader, files):
    model = publisher.publish(files)

    def breaks(_method, _query, wanted):
        if first_byte(wanted) < 2 * PART_BYTES:
            return False
        loader.await_that(lambda: ranges_in(loader) == 2)
        return True

    proxy.breaks = breaks

    load = loader.run(model, storage=through, deadlineSeconds=1)
    assert (load.code, load.record["reason"]) == (4, "StorageUnavailable")
    assert not load.target.exists()
    present = present_in(loader)
    assert present >= 2 * PART_BYTES

    proxy.breaks = lambda *_: False
    again = loader.run(model, storage=through)
    assert_loaded(again, files)
    assert again.record["fetchedBytes"] == again.record["bytes"] - present


def test_what_has_come_takes_no_room_where_no_further_start_can_succeed(interrupted, through, publisher, loader, files):
    model = publisher.publish(files)
    interrupted(model)
    publisher.delete(f"{model.prefix}/{LARGE}")

    load = loader.run(model, storage=through)

    assert (load.code, load.record["reason"]) == (2, "FileNotFound")
    assert os.listdir(load.target.parent) == []


def test_progress_is_told_while_bytes_come_and_while_none_do(hold, proxy, through, publisher, loader, files):
    held = hold(LARGE, 2 * PART_BYTES)
    loader.start(publisher.publish(files), storage=through, progressPort=loader.progress_port)
    assert held.waits.wait(WAIT_SECONDS)
    loader.await_that(lambda: loader.progress()["bytes"] >= 2 * PART_BYTES)

    told = loader.progress()
    assert told["bytes"] == told["fetchedBytes"] < told["totalBytes"] == sum(map(len, files.values()))
    assert told["seconds"] > 0
    assert "problem" not in told

    proxy.breaks = lambda *_: True
    proxy.pours = lambda *_: []
    held.breaks_off = True
    held.released.set()
    loader.await_that(lambda: "problem" in loader.progress())


def test_a_port_that_is_taken_does_not_keep_a_model_from_being_loaded(s3, publisher, loader):
    load = loader.run(publisher.publish(), progressPort=s3.port)
    assert load.code == 0
