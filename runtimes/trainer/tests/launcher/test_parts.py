"""Parts whose cases one machine cannot show as a whole: cgroup v2 beside v1, what TensorFlow says of a lost peer."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from trainer_support import TRAINER

from headrace_common import model_manifest
from headrace_common.cgroup import Cgroup
from headrace_common.protocol.config import Workers
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.report import Outcome
from headrace_common.tags import MODEL_METRICS_TAG, REST
from headrace_trainer.launcher.failures.judge import ChildEnd, bad_config, judge
from headrace_trainer.launcher.failures.last_words import last_words
from headrace_trainer.launcher.failures.oom import MemoryWatch
from headrace_trainer.launcher.frameworks.keras import KERAS
from headrace_trainer.launcher.frameworks.tensorflow_peers import lost_peer
from headrace_trainer.launcher.frameworks.tf_config import tf_config
from headrace_trainer.launcher.logtail import LogTail
from headrace_trainer.launcher.messages import (
    BadMessage,
    Candidate,
    Checkpoint,
    Chosen,
    Exported,
    ScriptException,
    Warned,
    parse_message,
)
from headrace_trainer.launcher.model import chosen
from headrace_trainer.launcher.model import upload as model
from headrace_trainer.launcher.report import Report
from headrace_trainer.launcher.store.checkpoints import Upload, Uploader
from headrace_trainer.launcher.store.contents import make_folders
from headrace_trainer.launcher.tracking.metric_keys import Keys
from headrace_trainer.launcher.tracking.metrics import Base


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


V1 = (
    "4:memory:/kubepods/pod1\n0::/\n",
    "memory/",
    "memory.oom_control",
    "memory.limit_in_bytes",
    "memory.max_usage_in_bytes",
)
V2 = ("0::/\n", "", "memory.events", "memory.max", "memory.peak")


@pytest.mark.parametrize(("membership", "folder", "events", "limit", "peak"), [V1, V2], ids=["v1", "v2"])
def test_a_kill_for_memory_is_seen_in_a_container_of_either_cgroup_version(
    tmp_path, membership, folder, events, limit, peak
):
    cgroup = {folder + events: "low 0\noom_kill 1\n", folder + limit: "4294967296\n", folder + peak: "4294959104\n"}
    write(tmp_path, {"membership": membership, **cgroup})
    watch = MemoryWatch(Cgroup(tmp_path / "membership", tmp_path))
    assert watch.kill() is None  # what was before is not the script's
    write(tmp_path, {folder + events: "low 0\noom_kill 2\n"})
    assert str(watch.kill()) == "limit 4.0 GiB, peak 4.0 GiB"


def test_a_kill_without_a_limit_of_the_container_s_own_says_so(tmp_path):
    write(tmp_path, {"membership": "0::/\n", "memory.events": "oom_kill 0\n", "memory.max": "max\n"})
    watch = MemoryWatch(Cgroup(tmp_path / "membership", tmp_path))
    write(tmp_path, {"memory.events": "oom_kill 1\n"})
    assert str(watch.kill()) == "no limit of its own"


def test_a_machine_without_cgroups_is_no_error(tmp_path):
    assert MemoryWatch(Cgroup(tmp_path / "none", tmp_path)).kill() is None


def raised(exception, message):
    return ScriptException(1, exception, message, None, "")


GONE = raised("UnavailableError", "{{function_node ...}} failed: /job:worker/replica:0/task:1: Socket closed [Op:...]")


@pytest.mark.parametrize(
    ("end", "reason", "peer"),
    [
        (ChildEnd(1, 5, exception=GONE, workers=2), Reason.PEER_LOST, 1),
        (ChildEnd(1, 5, exception=GONE, workers=1), Reason.SCRIPT_RAISED, None),
        (
            ChildEnd(1, 5, exception=raised("UnavailableError", "Connection reset by peer"), workers=2),
            Reason.PEER_LOST,
            None,
        ),
        (
            ChildEnd(1, 5, exception=raised("ValueError", "Connection reset by peer"), workers=2),
            Reason.SCRIPT_RAISED,
            None,
        ),
        (
            ChildEnd(-6, 5, log_tail="F coordination service: /job:worker/task:0 unhealthy", worker=1, workers=2),
            Reason.PEER_LOST,
            0,
        ),
        (ChildEnd(3, 5, log_tail="/job:worker/task:0", worker=1, workers=2), Reason.SCRIPT_EXITED, None),
    ],
)
def test_the_loss_of_a_peer_is_told_from_the_script_s_own_failure(end, reason, peer):
    failure = judge(replace(end, lost_peer=lost_peer(end)))
    assert failure is not None
    assert (failure.reason, failure.lost_peer) == (reason, peer)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"type":"exportTrial","seconds":"1"}',
        b'"fit"',
        b'{"type":"unknown"}',
        b'{"type":"step","fit":"0"}',
        b'{"type":["fit"]}',
        b"[" * 100_000,
        b'{"type":"exportTrial","model":"m","formats":[],"problems":{},"seconds":' + b"9" * 400 + b"}",
        b'{"type":"exportTrial","model":"m","formats":[],"problems":{},"seconds":"Infinity"}',
    ],
    ids=lambda line: line[:40].decode(),
)
def test_what_is_not_a_message_is_refused(line):
    with pytest.raises(BadMessage):
        parse_message(line)


def test_what_is_no_unicode_in_a_message_s_texts_is_replaced():
    """It could be neither logged nor sent on."""
    message = parse_message(b'{"type":"warning","subject":"a","message":"\\ud83d\\ude00 \\udce9 \xe9"}')
    assert message == Warned("a", "\U0001f600 ? \ufffd")


def chosen_of(count, unmeasured=0):
    metrics = {f"val_output_{number:03}_accuracy": number / 7 for number in range(count)}
    return Chosen("model", "", metrics, tuple(f"val_other_{number:03}" for number in range(unmeasured)))


def test_metrics_of_the_model_that_do_not_fit_into_a_tag_are_not_taken_from_the_run_either():
    few, many = (json.loads(chosen.tags(chosen_of(count, 3), Keys())[MODEL_METRICS_TAG]) for count in (20, 200))
    assert (len(few), few["val_other_000"], REST in few) == (23, None, False)
    assert many[REST] is None
    assert many["val_output_000_accuracy"] == 0.0
    rest = json.loads(chosen.tags(Chosen("model", "", {"val_loss": 1.0}, ("*",)), Keys())[MODEL_METRICS_TAG])
    assert rest == {"val_loss": 1.0, "*": None}


@pytest.mark.parametrize(
    "folder", ["/x/export-candidates/..", "/x/export-candidates/1/2", "/x/export", "/etc", "/x/export-candidates/a"]
)
def test_a_candidate_lies_in_a_numbered_folder_beside_the_model(folder):
    candidate = Candidate("a", "trained by fit", Path(folder), ("ONNX",))
    assert model.formats_of(candidate, Path("/x/export")) == ()


def test_a_success_that_nobody_could_choose_from_is_not_the_reason_of_a_failure():
    report = Report(0, ambiguity="2 models could be meant")
    report.conclude(Outcome.FAILED, bad_config("the store is gone"))
    assert report.as_record()["message"] == "the store is gone"
    report.conclude(Outcome.SUCCEEDED, None)
    assert report.as_record()["reason"] == "AmbiguousModel"


@pytest.mark.parametrize(
    ("wanted", "made"), [(("Keras",), ("Keras",)), (("ONNX", "Keras"), ()), (("Keras", "ONNX", "TensorFlow"), ())]
)
def test_a_file_that_is_never_served_is_no_model_where_others_were_asked_for(tmp_path, wanted, made):
    write(tmp_path, {"keras/model.keras": "x"})
    exported = Exported(tmp_path, ("Keras",))
    assert model.judge_export(wanted, exported, {"ONNX": "no"}, tmp_path, KERAS).made == made


def test_a_format_with_a_name_that_no_service_could_load_is_not_made(tmp_path):
    write(tmp_path, {"onnx/model.onnx": "x", "tensorflow/saved_model.pb": "x"})
    with open(os.fsencode(tmp_path) + b"/tensorflow/caf\xe9.txt", "w"):
        pass
    exported = Exported(tmp_path, ("ONNX", "TensorFlow"))
    export = model.judge_export(("ONNX", "TensorFlow"), exported, {}, tmp_path, KERAS)
    assert export.made == ("ONNX",)
    assert "its file tensorflow/caf\\xe9.txt is not valid Unicode" in export.note


@pytest.mark.parametrize(
    ("bound", "value", "told"),
    [
        ("MAX_BYTES", 4547, "the list of the model's files has 4548 bytes, and who loads a model reads at most 4547: "),
        ("MAX_FILES", 102, "with its 2 files the model has 3, and a model may have 2"),
    ],
)
def test_a_format_with_more_files_than_a_loader_lists_is_not_made(tmp_path, monkeypatch, bound, value, told):
    write(tmp_path, {"onnx/model.onnx": "x", "tensorflow/saved_model.pb": "x", "tensorflow/more": "x"})
    monkeypatch.setattr(model_manifest, bound, value)
    exported = Exported(tmp_path, ("TensorFlow", "ONNX"))
    export = model.judge_export(("ONNX", "TensorFlow"), exported, {}, tmp_path, KERAS)
    assert export.made == ("ONNX",)
    assert told in export.note


@pytest.mark.parametrize("folders", [["../outside"], ["/outside"], [7], "outside", ["file"]])
def test_no_folder_of_a_checkpoint_lies_outside_of_it(tmp_path, folders):
    write(tmp_path, {"here/file": "x"})
    with pytest.raises(ValueError, match=r"is no folder of a checkpoint|are no folders"):
        make_folders(tmp_path / "here", folders)
    assert not (tmp_path / "outside").exists()


def test_a_checkpoint_that_nobody_foresaw_to_fail_costs_only_itself(tmp_path):
    class Store:
        outages = 0

        def upload(self, upload, patience):
            if upload.checkpoint.step == 1:
                raise RuntimeError("of a kind that nobody knows")
            return upload.checkpoint.step

        def prune(self, patience):
            pass

    stored, told = [], []
    uploader = Uploader(Store(), 1.0, lambda *one: stored.append(one[0]), told.append)
    for step in (1, 2):
        folder = tmp_path / f"ckpt-{step:08d}"
        folder.mkdir()
        uploader.submit(Upload(Checkpoint(folder, 0, 0, step, 1), Base(), Base(), None))
        assert uploader.wait(10)

    assert stored == [2]
    assert told == [
        "ckpt-00000001 could not be kept: a fault of Headrace, please report it with the pod's log: "
        "RuntimeError: of a kind that nobody knows"
    ]


HEADER, FRAME = "Traceback (most recent call last):", '  File "train.py", line 3, in f'


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([HEADER, FRAME, "    g()", "    ^^^", "a.b.Odd: no"], ("Odd", "no")),
        ([HEADER, FRAME, "  [Previous line repeated 27 more times]", "RecursionError"], ("RecursionError", "")),
        ([FRAME, "    g()", "OSError: deep"], ("OSError", "deep")),
        ([HEADER, FRAME, "KeyError: 'a'", "The above exception was ...", HEADER, FRAME, "E: b"], ("E", "b")),
        (["[rank0]: " + line for line in (HEADER, FRAME, "    g()", "ValueError: x")], ("ValueError", "x")),
        (
            [f"  + Exception Group {HEADER}", "  |   File", "  | ExceptionGroup: two", "  +-+--- 1 ---"]
            + ["    | " + line for line in (HEADER, FRAME, "ValueError: x")]
            + ["    +-----------"],
            ("ValueError", "x\n    +-----------"),
        ),
        (
            [
                HEADER,
                FRAME,
                "ValueError: Caught ValueError in worker 0.",
                f"Original {HEADER}",
                FRAME,
                "ValueError: bad",
            ],
            ("ValueError", "bad"),
        ),
        ([HEADER, FRAME, "__main__.f.<locals>.E: local"], ("E", "local")),
        ([HEADER, FRAME, "E: one", *"0123456789"], ("E", "one\n" + "\n".join("0123456789"))),
        ([HEADER, FRAME, "E: one", *"0123456789x"], None),
        ([HEADER, FRAME, "    g()"], None),
        (["step 7", "loss: 0.3"], None),
        ([], None),
    ],
)
def test_the_exception_that_a_log_ends_with(lines, told):
    found = last_words("\n".join(lines))
    assert (None if found is None else (found.exception, found.message)) == told


def test_the_log_s_end_is_readable():
    tail = LogTail()
    tail.feed("stdout", b"one\ntw")
    tail.feed("stderr", b"10%\r50%\r100%\n\x1b[31mred\x1b[0m\xff\n")
    tail.feed("stdout", b"o\nunfinished")
    assert tail.text() == "one\ntwo\n100%\nred\ufffd\nunfinished"
    assert tail.by_stream() == ("100%\nred\ufffd", "one\ntwo\nunfinished")


def test_a_line_that_comes_in_pieces_stands_where_it_began():
    tail = LogTail()
    tail.feed("stdout", b"name? ")
    tail.feed("stderr", b"EOFError: EOF when ")
    tail.feed("stderr", b"reading a line\n")
    assert tail.text() == "name? \nEOFError: EOF when reading a line"


def test_of_a_long_line_the_beginning_is_kept():
    tail = LogTail()
    for piece in (b"9%\r", b"10%\rValueError: ", b"x" * 3000, b"y" * 3000, b"\n"):
        tail.feed("stderr", piece)
    assert tail.text() == ("ValueError: " + "x" * 400)[:400]


def test_what_was_said_on_stderr_long_before_the_end_is_not_about_it(monkeypatch):
    tail = LogTail()
    now = time.monotonic()
    tail.feed("stderr", b"FutureWarning: an old one\n")
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    tail.feed("stdout", b"ERROR: corpus not found\n")
    assert tail.by_stream() == ("ERROR: corpus not found", "FutureWarning: an old one\nERROR: corpus not found")


def test_the_launcher_imports_neither_tensorflow_nor_without_need_boto3():
    code = (
        "import sys, headrace_trainer.launcher.main; print(sorted({'boto3', 'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=TRAINER, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_tf_config_names_the_gang():
    workers = Workers(count=2, port=2222, addresses=("a.ns.svc.", "b.ns.svc."))
    assert json.loads(tf_config(workers, 1)) == {
        "cluster": {"worker": ["a.ns.svc.:2222", "b.ns.svc.:2222"]},
        "task": {"type": "worker", "index": 1},
    }
