"""Before a training: the columns that its model will be judged on are looked at in a real store, by a file's ends."""

import gzip
import io
import json
import threading
from pathlib import Path

import numpy as np
import pandas
import pytest

from headrace_common.protocol.config import Dataset, HeldOut
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher import held_out
from headrace_trainer.launcher.failures.judge import Failed

COLUMNS = {"species": "evaluate.data.label", "region": "evaluate.slices"}
MANY = 3_000_000  # bytes: more than are read of a file's begin


def csv(names, rows=2):
    return (",".join(names) + "\n" + "1,2\n" * rows).encode()


def parquet(names, rows=2):
    file = io.BytesIO()
    pandas.DataFrame({name: np.arange(rows) for name in names}).to_parquet(file)
    return file.getvalue()


def npz(names, rows=2):
    file = io.BytesIO()
    np.savez(file, **{name: np.random.default_rng(0).integers(0, 1 << 60, rows) for name in names})
    return file.getvalue()


def jsonl(names, rows=2):
    return (json.dumps(dict.fromkeys(names, 1)) + "\n").encode() * rows


@pytest.fixture
def look(s3, store):
    """Whether a column is missing of what lies in the bucket; the failure, or None."""

    def look(files, path, columns=COLUMNS, seconds=300.0):
        bucket = s3.bucket()
        for key, data in files.items():
            s3.put(bucket, f"rows/{key}", data)
        told = HeldOut(Dataset("heldout", f"s3://{bucket}/rows/", Path("/data/heldout")), path, columns)
        try:
            held_out.check_columns(told, store, seconds)
        except Failed as error:
            return error.failure
        return None

    return look


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("test.csv", csv),
        ("test.csv.gz", lambda names: gzip.compress(csv(names))),
        ("test.parquet", parquet),
        ("test.npz", npz),
        ("test.jsonl", jsonl),
    ],
)
def test_a_column_that_is_missing_is_told_as_the_evaluation_would(look, name, made):
    assert look({name: made(["species", "region"])}, name) is None

    failure = look({name: made(["Species", "region"])}, name)

    assert failure is not None
    assert failure.reason is Reason.DATA_UNREADABLE
    assert failure.message == f"dataset heldout, {name} has no column 'species'; it has Species, region"
    assert failure.hint.startswith("Name a column that is there in evaluate.data.label, or write 'species'")


@pytest.mark.parametrize(("name", "made"), [("big.csv", csv), ("big.parquet", parquet), ("big.npz", npz)])
def test_of_a_large_file_its_ends_are_enough(look, monkeypatch, name, made):
    monkeypatch.setattr(held_out, "_END_BYTES", 1 << 16)
    rows = made(["species", "region"], MANY // 4)
    assert len(rows) >= MANY

    assert look({name: rows}, name) is None
    assert "no column 'sex'" in look({name: rows}, name, {"sex": "evaluate.sensitive"}).message


def test_the_index_of_a_frame_is_no_column(look):
    file = io.BytesIO()
    pandas.DataFrame({"species": [1, 2], "region": [1, 2]}).set_index("species").to_parquet(file)

    assert "no column 'species'; it has region" in look({"test.parquet": file.getvalue()}, "test.parquet").message


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_of_a_header_that_is_cut_nothing_is_said(look, monkeypatch, packed):
    monkeypatch.setattr(held_out, "_BEGIN_BYTES", 1 << 10)
    monkeypatch.setattr(held_out, "_END_BYTES", 1 << 10)
    rng = np.random.default_rng(0)
    names = [f"column-{one}" for one in rng.integers(0, 1 << 60, 5000)]
    name = "wide.csv.gz" if packed is gzip.compress else "wide.csv"

    assert look({name: packed(csv([*names, "species", "region"], 3000))}, name) is None


def test_a_folder_is_as_its_first_file(look):
    files = {"test/_SUCCESS": b"", "test/1.csv": csv(["species", "x"]), "train/1.csv": csv(["species", "region"])}

    assert "no column 'region'" in look(files, "test/").message


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"other.csv": csv(["a", "b"])}, "test.csv"),  # the training may write it
        ({"test.csv": b""}, "test.csv"),
        ({"test.parquet": b"no Parquet"}, "test.parquet"),
        ({"test": csv(["a", "b"])}, "test"),
        ({"test/1.csv": csv(["a", "b"]), "test/2.npz": npz(["a"])}, "test"),
        ({"test/region=north/1.parquet": parquet(["species"])}, "test"),
        ({"test.jsonl": jsonl(["a"], 200_000)}, "test.jsonl"),  # another line may have it
    ],
    ids=["not there yet", "empty", "broken", "no kind", "two kinds", "a column in a name", "many lines"],
)
def test_what_cannot_be_told_is_left_to_the_evaluation(look, files, path):
    assert look(files, path) is None


def test_a_volume_is_looked_at_where_it_is_mounted(tmp_path, store):
    (tmp_path / "test.csv").write_bytes(csv(["a", "b"]))
    dataset = Dataset("heldout", "pvc://rows/", Path("/data/heldout"), mount=tmp_path)

    with pytest.raises(Failed, match="no column 'species'; it has a, b"):
        held_out.check_columns(HeldOut(dataset, "test.csv", COLUMNS), store, 300.0)


def test_nobody_waits_for_it_longer_than_is_said(look, monkeypatch):
    told = threading.Event()
    monkeypatch.setattr(held_out, "_names_in", lambda *_: told.wait(300))

    assert look({"test.csv": csv(["a", "b"])}, "test.csv", seconds=0.5) is None
    told.set()


def test_a_later_attempt_does_not_look_again(launch, s3):
    launched = launch("print('the script has begun')", config=judged_on_other_columns(s3, attempt=2))

    launched.wait()
    assert "the script has begun" in launched.log


def test_the_training_does_not_begin(launch, s3):
    launched = launch("print('the script has begun')", config=judged_on_other_columns(s3))

    assert launched.wait() == 2, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("Data", "DataUnreadable")
    assert "has no column 'species'; it has a, b" in launched.record["message"]
    assert "the script has begun" not in launched.log


def judged_on_other_columns(s3, attempt=1):
    bucket = s3.bucket()
    s3.put(bucket, "rows/test.csv", csv(["a", "b"]))
    dataset = {"name": "heldout", "uri": f"s3://{bucket}/rows/", "path": "/data/heldout"}
    told = {"dataset": dataset, "path": "test.csv", "columns": COLUMNS}
    job = {"namespace": "team-a", "name": "job", "uid": "uid-1", "attempt": attempt}
    return {"storage": {"endpoint": s3.endpoint, "region": "us-east-1"}, "heldOut": told, "job": job}
