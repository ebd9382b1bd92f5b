"""A stage of preparation as its pod runs it, against a real store and a real MLflow: what the script leaves becomes a
dataset, and what was prepared before is not prepared again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import textwrap
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from trainer_support import ACCESS_KEY, SECRET_KEY, wait_until

import wire_examples
from headrace_common.protocol.config import Job, Prepare
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.storage import Storage
from headrace_trainer.launcher.datasets import prepared
from headrace_trainer.launcher.datasets.left import LeftInFolder
from headrace_trainer.launcher.datasets.prepared import PreparedDatasets
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.instructions import read_instructions
from headrace_trainer.launcher.packages.install import Packages
from headrace_trainer.launcher.ready import get_ready
from headrace_trainer.launcher.report import Report
from headrace_trainer.launcher.settings import Paths, Settings
from headrace_trainer.launcher.stages.choose import stage_of
from headrace_trainer.launcher.stages.kind import Surroundings
from headrace_trainer.launcher.store.s3 import Patience, Store
from headrace_trainer.launcher.tracking.files import RunFiles
from thorough import thorough

PREPARES = """
import os
from pathlib import Path
import headrace_client as headrace

print("the script runs")
folder = headrace.dataset_folder()
assert not list(folder.iterdir())
(folder / "words").mkdir()
(folder / "words" / "all.txt").write_text(Path(os.environ["RAW"]).read_text().upper())
(folder / "count é").write_text(str(len(Path(os.environ["RAW"]).read_text().split())))
(folder / "nothing").mkdir()
"""
FILES = {"words/all.txt": b"TO BE OR NOT TO BE", "count é": b"6"}
RAN = "the script runs"


def digest_of(files):
    """As `sha256sum` and docs/concepts/run.md have it."""
    lines = sorted((name.encode(), hashlib.sha256(content).hexdigest()) for name, content in files.items())
    return hashlib.sha256(b"".join(f"{sha256}  ".encode() + name + b"\n" for name, sha256 in lines)).hexdigest()


HEX = digest_of(FILES)


@pytest.fixture
def bucket(s3):
    name = s3.bucket()
    s3.put(name, "raw.txt", b"to be or not to be")
    return name


@pytest.fixture
def prepare(program, s3, mlflow, bucket, tmp_path):
    """Starts a stage of preparation: of the job `name`, with its parameters, source and so on. Each pod has its own
    copy of the input, whose path the script finds in RAW.
    """
    tracking = mlflow.experiment("prepare", f"s3://{bucket}/artifacts")
    started = []

    def start(script=PREPARES, *, name="job", uid="uid-1", attempt=1, image="trainer:1", parameters=None, **rest):
        started.append(script)
        raw = tmp_path / f"data-{len(started)}" / "raw"
        config = {
            "stage": "prepare",
            "prepare": {"name": "corpus", "uri": f"s3://{bucket}/headrace/datasets/corpus", "image": image},
            "job": {"namespace": "team-a", "name": name, "uid": uid, "attempt": attempt},
            "parameters": parameters or {},
            "datasets": [{"name": "raw", "uri": f"s3://{bucket}/raw.txt", "path": str(raw)}],
            "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
            "tracking": tracking,
            "checkpoint": {"uri": f"s3://{bucket}/headrace/checkpoints/{uid}-prepare", "intervalSeconds": 300},
            **rest.pop("config", {}),
        }
        env = {"RAW": str(raw), **rest.pop("env", {})}
        return program(textwrap.dedent(script), config=config, env=env, **rest)

    start.experiment = tracking["experimentId"]
    return start


def below(s3, bucket):
    """What lies below the dataset's address."""
    prefix = "headrace/datasets/corpus/"
    return {key.removeprefix(prefix) for key in s3.keys(bucket, prefix)}


def manifest_of(s3, bucket, digest=HEX):
    return json.loads(s3.get(bucket, f"headrace/datasets/corpus/{digest}.json"))


def tags_of(run):
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def test_what_the_script_leaves_is_the_dataset(prepare, s3, bucket):
    launched = prepare(parameters={"lower": False, "rate": 0.5})
    assert launched.wait() == 0, launched.log

    uri = f"s3://{bucket}/headrace/datasets/corpus/{HEX}/"
    told = {"name": "corpus", "uri": uri, "digest": f"sha256:{HEX}", "files": 2, "bytes": 19}
    assert launched.record["outcome"] == "Succeeded"
    assert launched.record["dataset"] == {**told, "madeBy": "team-a/job", "reused": False}
    assert "model" not in launched.record
    for name, content in FILES.items():
        assert s3.get(bucket, f"headrace/datasets/corpus/{HEX}/{name}") == content
    manifest = manifest_of(s3, bucket)
    assert manifest["files"] == [
        {"path": name, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in sorted(FILES.items())
    ]
    assert manifest["madeBy"] == {"namespace": "team-a", "name": "job", "uid": "uid-1", "attempt": 1}
    assert (manifest["name"], manifest["digest"], manifest["image"]) == ("corpus", f"sha256:{HEX}", "trainer:1")
    assert (manifest["entrypoint"], manifest["parameters"]) == ("train.py", {"lower": False, "rate": 0.5})
    raw = hashlib.sha256(b"to be or not to be").hexdigest()
    assert manifest["inputs"] == [{"name": "raw", "uri": f"s3://{bucket}/raw.txt", "digest": raw}]


def test_the_same_is_not_prepared_again_and_says_from_which_job_it_came(prepare, s3, mlflow, bucket):
    first = prepare(name="earlier")
    assert first.wait() == 0, first.log
    before = below(s3, bucket)

    second = prepare(name="later", uid="uid-2")
    assert second.wait() == 0, second.log

    assert RAN in first.log
    assert RAN not in second.log
    assert second.record["dataset"] == {**first.record["dataset"], "reused": True}
    assert second.record["dataset"]["madeBy"] == "team-a/earlier"
    assert below(s3, bucket) == before
    assert not (second.work.parent.parent / "data-2").exists()  # no input was fetched
    run = next(run for run in mlflow.runs(prepare.experiment) if run["info"]["run_id"] == second.record["run"]["id"])
    assert run["info"]["status"] == "FINISHED"
    assert tags_of(run)["headrace.dataset.madeBy"] == "team-a/earlier"


def test_what_is_not_the_same_is_prepared_anew(prepare, s3, bucket):
    first = prepare()
    assert first.wait() == 0, first.log
    others = {
        "parameter": {"parameters": {"seed": 1}},
        "line": {"script": PREPARES + "pass\n"},
        "file": {"files": {"helper.py": "pass\n"}},
        "entrypoint": {"entrypoint": "prepare.py"},
        "image": {"image": "trainer:2"},
        "input": {},
    }
    for change, other in others.items():
        if change == "input":
            s3.put(bucket, "raw.txt", b"to be or not to bE")
        second = prepare(uid=f"uid-{change}", **other)
        assert second.wait() == 0, second.log

        assert RAN in second.log, change
        assert second.record["dataset"]["reused"] is False, change
        assert second.record["dataset"]["madeBy"] == "team-a/job", change


MEETS = """
import time
marks = Path(os.environ["MARKS"])
(marks / str(os.getpid())).touch()
while len(list(marks.iterdir())) < 2:
    time.sleep(0.05)
"""


@pytest.mark.parametrize("makes", ["the same", "something else"])
def test_two_that_prepare_the_same_at_once_both_end_well(prepare, s3, bucket, tmp_path, makes):
    (tmp_path / "marks").mkdir()
    script = PREPARES + MEETS
    if makes == "something else":
        script += "(folder / 'chance').write_bytes(os.urandom(8))\n"
    env = {"MARKS": str(tmp_path / "marks")}
    both = [prepare(script, name=f"job-{number}", uid=f"uid-{number}", env=env) for number in (1, 2)]
    for launched in both:
        assert launched.wait(120) == 0, launched.log
        assert launched.record["dataset"]["madeBy"].startswith("team-a/job-")
        assert launched.record["dataset"]["reused"] is False
    made = [launched.record["dataset"]["digest"].removeprefix("sha256:") for launched in both]
    assert len(set(made)) == {"the same": 1, "something else": 2}[makes]
    for digest in made:
        files = {file["path"] for file in manifest_of(s3, bucket, digest)["files"]}
        assert {f"{digest}/{name}" for name in files} <= below(s3, bucket)

    third = prepare(script, uid="uid-3")
    assert third.wait() == 0, third.log
    assert third.record["dataset"]["reused"] is True
    assert third.record["dataset"]["digest"].removeprefix("sha256:") in made


LARGE = """
import os
from pathlib import Path
print("the script runs")
for name in "abc":
    with open(Path(os.environ["HEADRACE_DATASET_DIR"]) / name, "wb") as file:
        file.truncate(64 << 20)
"""


def test_one_that_is_killed_while_it_is_kept_leaves_no_dataset_and_the_next_attempt_makes_it(prepare, s3, bucket):
    first = prepare(LARGE)
    wait_until(lambda: any(key.endswith("/a") for key in below(s3, bucket)), 60, "the first file is kept")
    os.killpg(first.process.pid, signal.SIGKILL)
    first.wait()
    left = below(s3, bucket)
    assert not any(key.endswith(".json") for key in left), left

    second = prepare(LARGE, attempt=2)
    assert second.wait(120) == 0, second.log

    assert RAN in second.log
    assert (second.record["dataset"]["files"], second.record["dataset"]["bytes"]) == (3, 192 << 20)
    assert second.record["dataset"]["reused"] is False
    third = prepare(LARGE, uid="uid-3")
    assert third.wait() == 0, third.log
    assert third.record["dataset"]["reused"] is True


def test_one_that_is_not_whole_any_more_is_made_anew(prepare, s3, bucket):
    first = prepare()
    assert first.wait() == 0, first.log
    [pointer] = [key for key in below(s3, bucket) if key.startswith("prepared/")]
    changes = {
        "no file": f"{HEX}/words/all.txt",
        "no manifest": f"{HEX}.json",
        "one more file": f"{HEX}/words/more.txt",
        "a cut manifest": f"{HEX}.json",
        "a cut pointer": pointer,
    }
    for change, name in changes.items():
        if change.startswith("no "):
            s3.delete(bucket, f"headrace/datasets/corpus/{name}")
        else:
            s3.put(bucket, f"headrace/datasets/corpus/{name}", b"{")

        again = prepare(uid=f"uid-{change.replace(' ', '-')}")
        assert again.wait() == 0, again.log

        assert RAN in again.log, change
        assert again.record["dataset"]["reused"] is False, change
        assert below(s3, bucket) == {pointer, f"{HEX}.json", *(f"{HEX}/{name}" for name in FILES)}, change
        assert s3.get(bucket, f"headrace/datasets/corpus/{HEX}/words/all.txt") == FILES["words/all.txt"], change
        assert manifest_of(s3, bucket)["digest"] == f"sha256:{HEX}", change


def test_what_the_job_itself_has_made_in_an_earlier_attempt_is_not_called_another_s(prepare):
    first = prepare()
    assert first.wait() == 0, first.log
    second = prepare(attempt=2)
    assert second.wait() == 0, second.log
    assert RAN not in second.log
    assert second.record["dataset"] == first.record["dataset"]
    assert second.record["dataset"]["reused"] is False


@pytest.mark.parametrize(
    "fault",
    [
        {"madeBy": {"namespace": "team-a", "name": "x" * 300, "uid": "u"}},
        {"madeBy": {"namespace": "team-a", "name": "<script>", "uid": "u"}},
        {"madeBy": {"namespace": "team-a\nother", "name": "job", "uid": "u"}},
        {"madeBy": {"namespace": "team-a", "name": ["job"], "uid": "u"}},
        {"madeBy": {"namespace": "team-a", "name": "job", "uid": {}}},
        {"madeBy": "team-a/job"},
        {"digest": 7},
        {"filler": "x" * (5 << 20)},
    ],
    ids=lambda fault: str(fault)[:60],
)
def test_a_pointer_that_nobody_can_have_written_well_is_not_believed(kept, fault):
    datasets, s3, bucket = kept
    place = "headrace/datasets/corpus/prepared/key.json"
    good = json.loads(s3.get(bucket, place))
    assert datasets.find("key") is not None

    s3.put(bucket, place, json.dumps({**good, **fault}).encode())

    assert datasets.find("key") is None


def keep(datasets, store, folder, key):
    """As a job whose script has left this folder."""
    left = LeftInFolder(folder, store, Patience(10.0))
    datasets.keep(left, left.read(datasets.room), key, {})


@pytest.fixture
def kept(s3, bucket, monkeypatch, tmp_path):
    """A dataset as a job keeps it, and how another job sees it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "count").write_bytes(b"6")
    prepare = Prepare("corpus", f"s3://{bucket}/headrace/datasets/corpus")
    store = Store(Storage(s3.endpoint, "us-east-1"))
    own, other = (
        PreparedDatasets(prepare, Job("team-a", name, f"uid-{name}", 1), store, 10.0) for name in ("earlier", "later")
    )
    keep(own, store, tmp_path / "made", "key")
    return other, s3, bucket


def test_what_is_deleted_since_it_was_not_made_with_the_dataset_is_told(kept, capsys, tmp_path):
    datasets, s3, bucket = kept
    [place] = [key for key in s3.keys(bucket) if key.endswith("/count")]
    stranger = f"{place.removesuffix('count')}stranger"
    s3.put(bucket, stranger, b"x")

    keep(datasets, Store(Storage(s3.endpoint, "us-east-1")), tmp_path / "made", "key")

    assert stranger not in s3.keys(bucket)
    assert f"s3://{bucket}/{stranger} is none of the dataset's files" in capsys.readouterr().err


@pytest.mark.parametrize(("is_old", "left"), [(True, []), (False, ["headrace/datasets/corpus/0/half"])])
def test_half_sent_files_are_taken_away_when_nobody_can_be_sending_them(kept, monkeypatch, tmp_path, is_old, left):
    datasets, s3, bucket = kept
    s3.client.create_multipart_upload(Bucket=bucket, Key="headrace/datasets/corpus/0/half")
    s3.client.create_multipart_upload(Bucket=bucket, Key="headrace/datasets/other/0/half")
    if is_old:
        monkeypatch.setattr(prepared, "LEFT_OVER_AFTER", timedelta(0))
        time.sleep(1.1)  # a store may tell whole seconds
    (tmp_path / "made" / "more").write_bytes(b"7")

    keep(datasets, Store(Storage(s3.endpoint, "us-east-1")), tmp_path / "made", "other key")

    there = [one["Key"] for one in s3.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    assert sorted(there) == [*left, "headrace/datasets/other/0/half"]


def test_a_manifest_is_not_read_beyond_its_bound(kept, monkeypatch):
    datasets, *_ = kept
    assert datasets.find("key") is not None
    monkeypatch.setattr(prepared, "MAX_MANIFEST_BYTES", 20)
    assert datasets.find("key") is None


@pytest.mark.parametrize(
    ("leaves", "told"),
    [
        ("pass", "left no file"),
        thorough("(folder / 'empty').mkdir()", "left no file"),
        ("(folder / 'raw').symlink_to(os.environ['RAW'])", "raw is a link"),
        ("(folder / 'all').symlink_to('/etc')", "all is a link"),
        ("os.mkfifo(folder / 'pipe')", "pipe is a pipe"),
        ("open(os.fsencode(folder) + b'/caf\\xe9', 'w').close()", "caf\\xe9 is not valid Unicode"),
        ("(folder / 'a\\nb').touch()", "has a control character"),
        thorough("(folder / 'a\\\\b').touch()", "has a backslash"),
        ("(folder / ('d' * 254)).touch()", "longer than 250 bytes"),
        thorough(
            "deep = folder / '/'.join(['d' * 200] * 6); deep.mkdir(parents=True); (deep / 'x').touch()", "longer than"
        ),
        ("folder.rmdir()", "cannot be read"),
        ("folder.rmdir(); folder.symlink_to('/etc')", "the folder itself was replaced by a link"),
    ],
)
def test_what_cannot_be_a_dataset_is_one_failure_that_says_why(prepare, s3, bucket, leaves, told):
    script = f"import os\nfrom pathlib import Path\nfolder = Path(os.environ['HEADRACE_DATASET_DIR'])\n{leaves}\n"
    launched = prepare(script)
    assert launched.wait() == 2, launched.log
    record = launched.record
    assert (record["outcome"], record["class"], record["reason"]) == ("Failed", "Config", "NoDataset")
    assert told in record["message"]
    assert "HEADRACE_DATASET_DIR" in record["hint"]
    assert not any(key.endswith(".json") for key in below(s3, bucket))


def test_a_script_that_fails_makes_no_dataset(prepare, s3, bucket):
    launched = prepare(PREPARES + "raise ValueError('the data is odd')")
    assert launched.wait() == 1, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("UserCode", "ScriptRaised")
    assert "dataset" not in launched.record
    assert below(s3, bucket) == set()


def test_a_process_that_goes_on_writing_is_told(prepare, s3, bucket):
    script = """
    import os, subprocess, sys
    folder = os.environ["HEADRACE_DATASET_DIR"]
    for name in "ab":
        with open(f"{folder}/{name}", "wb") as file:
            file.truncate(64 << 20)
    # It ends by itself: outside of a pod nobody else does that.
    writes = f"import time\\nfor _ in range(600):\\n    open({folder!r} + '/b', 'a').write('x')\\n    time.sleep(0.05)"
    other = subprocess.Popen([sys.executable, "-c", writes], start_new_session=True)
    """
    launched = prepare(script)
    assert launched.wait() == 2, launched.log
    assert (launched.record["reason"], launched.record["class"]) == ("NoDataset", "Config")
    assert "b was written" in launched.record["message"]


def test_a_secret_s_name_in_a_parameter_is_only_its_name(prepare, s3, bucket):
    launched = prepare(parameters={"key": "$(AWS_SECRET_ACCESS_KEY)", "other": "${AWS_SECRET_ACCESS_KEY}"})
    assert launched.wait() == 0, launched.log
    kept = {key: s3.get(bucket, f"headrace/datasets/corpus/{key}") for key in below(s3, bucket) if ".json" in key}
    assert len(kept) == 2
    for text in kept.values():
        assert b"$(AWS_SECRET_ACCESS_KEY)" in text
        assert SECRET_KEY.encode() not in text


def test_the_preparation_is_a_run_below_the_job_s_which_stays_open(prepare, mlflow, bucket):
    launched = prepare(parameters={"vocabulary": 1000})
    assert launched.wait() == 0, launched.log

    runs = {tags_of(run)["headrace.uid"]: run for run in mlflow.runs(prepare.experiment)}
    whole, own = runs["uid-1"], runs["uid-1/prepare"]
    assert (whole["info"]["run_name"], whole["info"]["status"]) == ("job", "RUNNING")
    assert (own["info"]["run_name"], own["info"]["status"]) == ("job/prepare", "FINISHED")
    assert tags_of(own)["mlflow.parentRunId"] == whole["info"]["run_id"]
    assert tags_of(own)["headrace.stage"] == "prepare"
    assert tags_of(own)["headrace.dataset"] == f"s3://{bucket}/headrace/datasets/corpus/{HEX}/"
    assert {p["key"]: p["value"] for p in own["data"]["params"]} == {"vocabulary": "1000"}
    assert not whole["data"].get("params")
    assert "headrace.attempt" not in tags_of(whole)
    [used] = own["inputs"]["dataset_inputs"]
    assert (used["dataset"]["name"], used["tags"][0]["value"]) == ("raw", "preparation")
    assert launched.record["run"]["id"] == own["info"]["run_id"]


def test_attempts_of_a_preparation_share_its_run(prepare, mlflow):
    first = prepare(PREPARES + "raise ValueError('no')")
    assert first.wait() == 1, first.log
    second = prepare(attempt=2)
    assert second.wait() == 0, second.log
    runs = {tags_of(run)["headrace.uid"]: run for run in mlflow.runs(prepare.experiment)}
    assert runs.keys() == {"uid-1", "uid-1/prepare"}
    assert runs["uid-1/prepare"]["info"]["status"] == "FINISHED"
    assert tags_of(runs["uid-1/prepare"])["headrace.attempt"] == "2"


def test_one_that_is_stopped_goes_on_from_its_checkpoint(prepare, s3, bucket):
    script = """
    import time
    import headrace_client as headrace
    folder = headrace.last_checkpoint()
    if folder is None:
        with headrace.checkpoint(step=7) as folder:
            (folder / "half").write_text("half of it")
        print("waits", flush=True)
        while not headrace.should_stop():
            time.sleep(0.05)
        raise SystemExit
    (headrace.dataset_folder() / "all").write_text((folder / "half").read_text() + " and the rest")
    """
    first = prepare(script)
    wait_until(lambda: "waits" in first.log, 60, "it waits")
    first.process.send_signal(signal.SIGTERM)
    assert first.wait() == 6, first.log
    assert first.record["outcome"] == "Interrupted"
    assert "dataset" not in first.record

    second = prepare(script, attempt=2)
    assert second.wait() == 0, second.log
    hex_digits = second.record["dataset"]["digest"].removeprefix("sha256:")
    assert s3.get(bucket, f"headrace/datasets/corpus/{hex_digits}/all") == b"half of it and the rest"


def test_what_was_kept_of_other_inputs_is_not_gone_on_from(prepare, s3, bucket):
    script = """
    import os, time
    from pathlib import Path
    import headrace_client as headrace
    raw = Path(os.environ["RAW"]).read_text()
    last = headrace.last_checkpoint()
    begun = raw if last is None else (last / "begun").read_text()
    if raw == "to be or not to be":
        with headrace.checkpoint(step=7) as folder:
            (folder / "begun").write_text(begun)
        print("waits", flush=True)
        while not headrace.should_stop():
            time.sleep(0.05)
        raise SystemExit
    (headrace.dataset_folder() / "all").write_text(begun)
    """
    first = prepare(script)
    wait_until(lambda: "waits" in first.log, 60, "it waits")
    first.process.send_signal(signal.SIGTERM)
    assert first.wait() == 6, first.log
    s3.put(bucket, "raw.txt", b"other words")

    second = prepare(script, attempt=2)
    assert second.wait() == 0, second.log
    hex_digits = second.record["dataset"]["digest"].removeprefix("sha256:")
    assert s3.get(bucket, f"headrace/datasets/corpus/{hex_digits}/all") == b"other words"


def test_a_missing_entrypoint_is_the_preparation_s(prepare):
    launched = prepare(config={"source": {"path": "/nowhere", "entrypoint": "prepare.py"}})
    assert launched.wait() == 2, launched.log
    assert launched.record["reason"] == "EntrypointNotFound"
    assert "spec.prepare.entrypoint" in launched.record["hint"]


def test_a_missing_input_is_the_preparation_s(prepare, bucket, tmp_path):
    nowhere = [{"name": "raw", "uri": f"s3://{bucket}/nowhere", "path": str(tmp_path / "nowhere")}]
    launched = prepare(config={"datasets": nowhere})
    assert launched.wait() == 2, launched.log
    assert launched.record["reason"] == "DatasetNotFound"
    assert "spec.prepare.datasets" in launched.record["hint"]


def test_each_job_has_the_same_seed(prepare):
    script = """
    import os
    import headrace_client as headrace
    (headrace.dataset_folder() / "seed").write_text(os.environ["HEADRACE_SEED"])
    """
    first, second = prepare(script), prepare(script + "# another line\n", uid="uid-2")
    for launched in (first, second):
        assert launched.wait() == 0, launched.log
    assert first.record["dataset"]["digest"] == second.record["dataset"]["digest"]


def test_what_was_prepared_is_what_the_job_trains_on_and_its_run_says_so(
    prepare, program, s3, mlflow, bucket, tmp_path
):
    prepared = prepare()
    assert prepared.wait() == 0, prepared.log
    made = prepared.record["dataset"]
    corpus = {"name": "corpus", "uri": made["uri"], "path": str(tmp_path / "corpus"), "digest": made["digest"]}
    tracking = {"url": mlflow.url, "experiment": "", "experimentId": prepare.experiment}
    storage = {"endpoint": s3.endpoint, "region": "us-east-1"}
    script = f"print(open({str(tmp_path)!r} + '/corpus/words/all.txt').read())"

    training = program(script, config={"datasets": [corpus], "tracking": tracking, "storage": storage}, attempt=2)
    assert training.wait() == 0, training.log

    assert "TO BE OR NOT TO BE" in training.log
    runs = {tags_of(run)["headrace.uid"]: run for run in mlflow.runs(prepare.experiment)}
    assert runs.keys() == {"uid-1", "uid-1/prepare"}  # the training has the run that the preparation lies below
    whole = runs["uid-1"]
    assert (whole["info"]["status"], tags_of(whole)["headrace.attempt"]) == ("FINISHED", "2")
    [used] = whole["inputs"]["dataset_inputs"]
    assert (used["dataset"]["name"], used["dataset"]["digest"]) == ("corpus", HEX[:32])
    assert (json.loads(used["dataset"]["source"])["uri"], used["tags"][0]["value"]) == (made["uri"], "training")


def test_a_large_dataset_takes_little_memory(prepare):
    launched = prepare(LARGE.replace("64 <<", "128 <<"))
    status, peak = Path(f"/proc/{launched.process.pid}/status"), [0]

    def has_ended():
        if launched.process.poll() is None and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
            peak[0] = int(found[1]) << 10
        return launched.process.poll() is not None

    wait_until(has_ended, 120, "it ends")
    assert launched.wait() == 0, launched.log
    assert launched.record["dataset"]["bytes"] == 384 << 20
    assert 0 < peak[0] < 200 << 20


class Moving(Store):
    """A store to which somebody writes each time that it has been listed."""

    def __init__(self, s3, writes):
        super().__init__(Storage(s3.endpoint, "us-east-1"))
        self.writes = writes

    def list(self, prefix, patience):
        yield from list(super().list(prefix, patience))
        if prefix.key == "raw/":
            self.writes()


@pytest.fixture
def fetch(s3, bucket, monkeypatch, tmp_path):
    """Gets a preparation ready whose input is what lies below raw/, while somebody `writes` there; gives the folder
    that the script would find.
    """
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    whole = json.loads(wire_examples.text("config-prepare"))
    whole["prepare"]["uri"] = f"s3://{bucket}/headrace/datasets/corpus"
    whole["source"] = {"path": str(tmp_path), "entrypoint": "prepare.py"}
    del whole["tracking"], whole["checkpoint"]
    (tmp_path / "prepare.py").write_text("pass")
    s3.put(bucket, "raw/a.txt", b"of a")

    def get(writes):
        work = tmp_path / "work"
        whole["datasets"] = [{"name": "raw", "uri": f"s3://{bucket}/raw/", "path": str(tmp_path / "data" / "raw")}]
        settings = replace(Settings(), paths=Paths(work=work))
        settings.paths.scratch.mkdir(parents=True)
        config, store = read_instructions(json.dumps(whole)), Moving(s3, writes)
        files = RunFiles(config, settings, store, None, None, None)
        stage = stage_of(Surroundings(config, settings, store, None, Report(0), files))
        get_ready(config, settings, stage, store, None, None, Packages(config, settings, store), lambda state: None)
        return tmp_path / "data" / "raw"

    return get


def test_what_is_added_to_an_input_after_it_was_listed_is_another_preparation_s(fetch, s3, bucket):
    folder = fetch(lambda: s3.put(bucket, "raw/b.txt", b"of b"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a.txt": b"of a"}


def test_an_object_that_is_written_anew_after_it_was_listed_is_one_failure_that_names_it(fetch, s3, bucket):
    with pytest.raises(Failed) as raised:
        fetch(lambda: s3.put(bucket, "raw/a.txt", b"other"))
    failure = raised.value.failure
    assert failure.reason is Reason.DATASET_CHANGED
    assert "dataset raw" in failure.message
    assert f"s3://{bucket}/raw/a.txt" in failure.message
    assert "new TrainingJob" in failure.hint


def test_neither_tracking_nor_checkpoints_are_needed(prepare, s3, bucket):
    launched = prepare(config={"tracking": None, "checkpoint": None})
    assert launched.wait() == 0, launched.log
    assert launched.record["dataset"]["digest"] == f"sha256:{HEX}"
    assert "run" not in launched.record
    [raw] = manifest_of(s3, bucket)["inputs"]
    assert raw["digest"] == hashlib.sha256(b"to be or not to be").hexdigest()
