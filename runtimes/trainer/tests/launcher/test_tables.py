"""What is declared of tables as its pod does it, against a real store and a real MLflow: one preparation that most of
these look at, one with a script after it, and what is refused.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from trainer_support import wait_until

import wire_examples
from headrace_common.protocol.config import Dataset
from headrace_trainer.launcher import tables
from headrace_trainer.launcher.datasets.mounted import attach
from headrace_trainer.launcher.failures.judge import ChildEnd, Failed
from headrace_trainer.launcher.failures.oom import MemoryKill
from headrace_trainer.launcher.instructions import read_instructions
from headrace_trainer.launcher.messages import Refused
from headrace_trainer.launcher.packages.install import Packages
from headrace_trainer.launcher.packages.requirements import Options
from headrace_trainer.launcher.settings import Paths, Settings

MASKING_KEY = "a masking key that is 32 bytes.."
PEOPLE = [
    (f"Person{number:03d} Muster", f"person{number:03d}@mail.example", f"+49 30 9018{number:03d}", number % 20, number)
    for number in range(200)
]
PLANTED = (b"Person0", b"Muster", b"@mail.example", b"30 9018", b"+49 30")
TABLES = {
    "dataset": "raw",
    "schema": {
        "strict": True,
        "columns": [
            {"name": "name", "type": "Text"},
            {"name": "mail", "type": "Text", "matches": "@"},
            {"name": "phone", "type": "Text"},
            {"name": "household", "type": "Integer", "min": "0"},
            {"name": "visits", "type": "Integer", "unique": True},
            {"name": "label", "type": "Text", "oneOf": ["yes", "no"]},
        ],
    },
    "privacy": {
        "columns": [
            {"name": "name", "action": "Drop"},
            {"name": "mail", "action": "Hash"},
            {"name": "phone", "action": "Tokenize"},
        ],
        "detect": "Refuse",
    },
    "split": {"train": "0.8", "test": "0.2", "seed": 7, "group": "household"},
    "balance": {"column": "label", "method": "Oversample"},
    "write": {"format": "Parquet", "compression": "Zstd"},
}


def as_csv(people):
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["name", "mail", "phone", "household", "visits", "label"])
    rows.writerows([*person, "no" if person[4] // 20 % 4 else "yes"] for person in people)
    return text.getvalue().encode()


@pytest.fixture
def tenant(s3):
    """A bucket of data as it came, and one for all that is made of it."""
    raw, made = s3.bucket(), s3.bucket()
    s3.put(raw, "people/b.csv", as_csv(PEOPLE[100:]))
    s3.put(raw, "people/a.csv", as_csv(PEOPLE[:100]))
    return raw, made


@pytest.fixture
def prepare(program, s3, mlflow, tenant, tmp_path):
    """Starts a stage of preparation with `tables`; without a script these are all."""
    raw, made = tenant
    tracking = mlflow.experiment("tables", f"s3://{made}/artifacts")
    started = []

    def start(script="", *, uid="uid-1", attempt=1, key=MASKING_KEY, uri="people/", **declared):
        started.append(uid)
        source = {} if script else {"source": {"path": str(tmp_path / "the-training-s"), "entrypoint": ""}}
        (tmp_path / "the-training-s").mkdir(exist_ok=True)
        (tmp_path / "the-training-s" / "train.py").touch()
        place = str(tmp_path / f"data-{len(started)}" / "raw")
        config = {
            "protocol": 3,
            "stage": "prepare",
            "prepare": {
                "name": "people",
                "uri": f"s3://{made}/headrace/datasets/people",
                "image": "trainer:1",
                "tables": {**TABLES, **declared},
            },
            "job": {"namespace": "team-a", "name": "job", "uid": uid, "attempt": attempt},
            "datasets": [{"name": "raw", "uri": f"s3://{raw}/{uri}", "path": place}],
            "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
            "tracking": tracking,
            **source,
        }
        return program(script, config=config, env={"HEADRACE_MASKING_KEY": key, "RAW": place})

    start.experiment = tracking["experimentId"]
    return start


def rows_of(s3, launched, name):
    bucket, _, key = launched.record["dataset"]["uri"].removeprefix("s3://").partition("/")
    return pyarrow.parquet.read_table(pa.BufferReader(s3.get(bucket, f"{key}{name}"))).to_pylist()


def all_bytes(s3, bucket):
    return {key: s3.get(bucket, key) for key in s3.keys(bucket)}


def test_what_is_declared_is_done_masked_is_masked_and_the_same_is_not_done_again(prepare, s3, mlflow, tenant):
    _, made = tenant
    first = prepare()
    assert first.wait() == 0, first.log

    train, test = (rows_of(s3, first, f"{part}.parquet") for part in ("train", "test"))
    assert not {row["household"] for row in train} & {row["household"] for row in test}
    assert {row["visits"] for row in train + test} == set(range(200))
    assert [list(row) for row in test] == [["mail", "phone", "household", "visits", "label"]] * 40
    labels = [row["label"] for row in train]
    assert labels.count("yes") == labels.count("no") == 112
    report = json.loads(s3.get(made, first.record["dataset"]["uri"].split("/", 3)[3] + "report.json"))
    assert report["rows"] == {"train": 224, "test": 40}
    assert report["classes"]["label"]["train"] == {"no": 112, "yes": 112}
    assert report["found"] == []

    # A planted e-mail address, name and number is nowhere: not in the store, the run, the log or the record.
    stored = all_bytes(s3, made)
    assert any(key.endswith("outputs/tables.json") for key in stored), list(stored)
    assert not [key for key in stored if "/source/" in key]  # no script has run
    places = {
        **stored,
        "log": first.log.encode(),
        "record": json.dumps(first.record).encode(),
        "mlflow.db": b"".join(path.read_bytes() for path in mlflow.log.parent.glob("mlflow.db*")),
        "mlflow.log": mlflow.log.read_bytes(),
    }
    for name, content in places.items():
        for planted in (*PLANTED, MASKING_KEY.encode()):
            assert planted not in content, (name, planted)

    second = prepare(uid="uid-2")
    assert second.wait() == 0, second.log
    assert second.record["dataset"] == {**first.record["dataset"], "reused": True}
    other_key = prepare(uid="uid-3", key="another masking key of 32 bytes.")
    assert other_key.wait() == 0, other_key.log
    assert other_key.record["dataset"]["reused"] is False
    assert other_key.record["dataset"]["digest"] != first.record["dataset"]["digest"]
    other_seed = prepare(uid="uid-4", split={**TABLES["split"], "seed": 8})
    assert other_seed.wait() == 0, other_seed.log
    assert other_seed.record["dataset"]["reused"] is False


def test_a_script_finds_what_came_of_it_and_neither_what_was_masked_nor_the_key(prepare, s3):
    launched = prepare(
        """
        import os
        from pathlib import Path
        import headrace_client as headrace

        assert not Path(os.environ["RAW"]).exists()
        assert "HEADRACE_MASKING_KEY" not in os.environ
        made = headrace.tables_folder()
        assert sorted(path.name for path in made.iterdir()) == ["report.json", "test.parquet", "train.parquet"]
        folder = headrace.dataset_folder()
        assert not list(folder.iterdir())
        (folder / "sizes").write_text(str((made / "train.parquet").stat().st_size))
        """
    )
    assert launched.wait() == 0, launched.log
    assert launched.record["dataset"]["files"] == 1


REFUSALS = {
    "SchemaViolated": {"schema": {"columns": [{"name": "visits", "type": "Integer", "max": "198"}]}},
    "PrivateDataFound": {"privacy": {"columns": [{"name": "name", "action": "Drop"}], "detect": "Refuse"}},
}


@pytest.mark.parametrize("reason", sorted(REFUSALS))
def test_what_cannot_be_done_is_one_reason_with_a_hint_and_no_dataset(prepare, s3, tenant, reason):
    _, made = tenant
    launched = prepare(**REFUSALS[reason])
    assert launched.wait() == 2, launched.log
    record = launched.record
    assert (record["outcome"], record["class"], record["reason"]) == ("Failed", "Data", reason), record["message"]
    assert "spec.prepare.tables" in record["hint"]
    assert not [planted for planted in PLANTED if planted in json.dumps(record).encode() + launched.log.encode()]
    assert not [key for key in s3.keys(made) if key.startswith("headrace/datasets/")]


OWN = ("TableUnreadable", "ColumnNotFound", "ColumnUnusable", "SplitEmpty", "SplitLeaks", "PackageMissing", "BadConfig")


@pytest.mark.parametrize("reason", OWN)
def test_a_refusal_is_the_failure_that_it_names(reason):
    told = tables.failure(ChildEnd(2, 0, refused=Refused("no", "do this", reason)))
    assert (str(told.reason), told.hint, told.exit_code) == (reason, "do this", 2)


@pytest.mark.parametrize(
    ("end", "reason", "words"),
    [
        (ChildEnd(0, 0), None, ""),
        (ChildEnd(70, 0), "LauncherFailed", "what is declared in prepare.tables failed, with exit code 70"),
        (ChildEnd(-9, 0), "ChildKilled", "prepare.tables: the script's process was ended by SIGKILL"),
        (
            ChildEnd(-9, 0, memory_kill=MemoryKill(1 << 30, 1 << 30)),
            "OutOfMemory",
            "prepare.tables was killed for memory",
        ),
        (ChildEnd(2, 0, refused=Refused("no", "", "DatasetChanged")), "BadConfig", "prepare.tables: no"),
    ],
)
def test_each_end_is_one_failure(end, reason, words):
    told = tables.failure(end)
    assert (None if told is None else str(told.reason)) == reason
    assert told is None or words in told.message


@pytest.mark.parametrize("key", ["", "short"])
def test_a_key_that_is_too_short_is_told(key):
    whole = json.loads(wire_examples.text("config-tables"))
    with pytest.raises(Failed) as raised:
        tables.fingerprint(read_instructions(json.dumps(whole)), {"HEADRACE_MASKING_KEY": key})
    failure = raised.value.failure
    assert (str(failure.failure_class), str(failure.reason)) == ("Config", "BadConfig")
    assert f"the masking key has {len(key)} bytes, and needs 16" in failure.message
    assert "keySecretRef" in failure.hint


def test_a_dataset_of_one_object_is_of_the_kind_that_its_name_says(prepare, s3):
    privacy = {**TABLES["privacy"], "columns": [{"name": "name", "action": "Drop"}], "detect": "Report"}
    launched = prepare(uri="people/a.csv", balance=None, privacy=privacy)
    assert launched.wait() == 0, launched.log
    assert len(rows_of(s3, launched, "train.parquet") + rows_of(s3, launched, "test.parquet")) == 100
    # What is left is told to the operator, too.
    told = "privacy: there seems to be personal data in what is left: mail: name of the column (100 rows); mail: e-mail"
    assert launched.record["message"].startswith(told)


def test_one_that_is_stopped_says_so_and_leaves_no_dataset(prepare, s3, tenant):
    _, made = tenant
    launched = prepare()

    def child():
        children = Path(f"/proc/{launched.process.pid}/task/{launched.process.pid}/children")
        pids = children.read_text().split() if children.exists() else []
        return [pid for pid in pids if b"headrace_trainer.tables" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    [pid] = wait_until(child, 60, "the tables' process is there")
    os.kill(int(pid), signal.SIGSTOP)
    launched.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    with contextlib.suppress(ProcessLookupError):  # not every kernel lets one that is stopped wait with its end
        os.kill(int(pid), signal.SIGCONT)
    assert launched.wait() == 6, launched.log
    assert launched.record["outcome"] == "Interrupted"
    assert not [key for key in s3.keys(made) if key.startswith("headrace/datasets/")]


@pytest.fixture
def instructions():
    return read_instructions(wire_examples.text("config-tables"))


def with_script_on(instructions, path, **dataset):
    return replace(instructions, entrypoint="prepare.py", datasets=(Dataset("raw", "pvc://raw/2026", path, **dataset),))


@pytest.fixture
def done(tmp_path):
    """The folders of a pod in which the tables are done."""
    paths = Paths(work=tmp_path / "work")
    paths.tables.mkdir(parents=True)
    paths.outputs.mkdir()
    (paths.tables / "report.json").write_text("{}")
    return Settings(paths=paths)


@pytest.mark.parametrize("below", ["", "2026/a.csv"])
def test_of_a_volume_the_link_goes_and_not_its_files(instructions, done, tmp_path, below):
    volume, data = tmp_path / "volume", tmp_path / "data" / "raw"
    (volume / "2026").mkdir(parents=True)
    (volume / "2026" / "a.csv").write_text("x\n1\n")
    config = with_script_on(instructions, data, mount=volume)
    attach(config.datasets[0], volume, None)
    tables.finish(config, replace(config.prepare.tables, path=below), done)
    assert not data.is_symlink()
    assert (volume / "2026" / "a.csv").exists()


def test_what_an_address_has_after_its_file_is_no_part_of_the_name(instructions, done, tmp_path):
    web = Dataset("raw", "https://example.org/a.csv?sig=se/cret", tmp_path / "raw", "sha256:" + "0" * 64)
    config = replace(instructions, datasets=(web,))
    asked = json.loads(tables.environment(config, config.prepare.tables, done, {})["HEADRACE_TABLES"])
    assert asked["name"] == "a.csv"


def test_what_builds_packages_has_not_the_masking_key(instructions, done, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_MASKING_KEY", MASKING_KEY)
    env = Packages(instructions, done, None)._env(tmp_path, Options(()))
    assert MASKING_KEY not in env.values()
