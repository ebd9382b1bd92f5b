"""The parts of a preparation by Spark that need no Spark: files, what is read of its REST interface, what an executor
runs, what the API server is asked, and what becomes of the names of files.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import wire_examples
from headrace_common.protocol.config import Stage, parse_config
from headrace_common.protocol.parts import DatasetReference
from headrace_common.protocol.reasons import Reason
from headrace_common.record import TerminationLog
from headrace_common.s3 import Place
from headrace_trainer.launcher import settings as launcher_settings
from headrace_trainer.launcher.datasets.staged import Staged, is_data, names
from headrace_trainer.launcher.failures.judge import Failed
from headrace_trainer.launcher.inbox import StopRequested
from headrace_trainer.launcher.main import Launcher
from headrace_trainer.launcher.report import Report
from headrace_trainer.launcher.script import Script
from headrace_trainer.launcher.spark import driver, files
from headrace_trainer.launcher.spark.cluster import Cluster, executors_pending, why_pending
from headrace_trainer.launcher.spark.executor import command
from headrace_trainer.launcher.spark.seen import Seen, seen
from headrace_trainer.launcher.spark.watch import Watch
from headrace_trainer.launcher.stages.kind import Surroundings
from headrace_trainer.launcher.stages.prepare import Preparing
from headrace_trainer.launcher.store.s3 import GivenUp as Away
from headrace_trainer.launcher.store.s3 import Listed, NotFound, Patience

CONFIG = parse_config(wire_examples.text("config-spark"))
SPARK = CONFIG.prepare.spark


def stage(number, status, tasks=4, done=0, attempt=0):
    return {"stageId": number, "attemptId": attempt, "status": status, "numTasks": tasks, "numCompleteTasks": done}


def executor(name, is_active=True):
    return {"id": name, "isActive": is_active}


DRIVER = executor("driver")
UNSCHEDULABLE = {
    "status": {
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: Insufficient memory."}]
    }
}


@pytest.mark.parametrize(
    ("stages", "executors", "expected"),
    [
        ([], [DRIVER], Seen(0, 0, 0, 0, 0, 0)),
        ([stage(0, "COMPLETE", done=4), stage(1, "ACTIVE", done=1)], [DRIVER, executor("1")], Seen(1, 2, 5, 8, 1, 0)),
        # Of a stage that lost its files to a killed executor, the attempt that goes on counts.
        (
            [stage(0, "FAILED", done=2), stage(0, "ACTIVE", tasks=2, done=1, attempt=1)],
            [DRIVER, executor("1", is_active=False), executor("2")],
            Seen(0, 1, 1, 2, 1, 1),
        ),
        ([stage(0, "SKIPPED")], [DRIVER], Seen(1, 1, 4, 4, 0, 0)),
    ],
)
def test_what_spark_says_is_counted_by_stages_tasks_and_executors(stages, executors, expected):
    assert seen(stages, executors) == expected


def test_a_share_needs_tasks():
    assert Seen(0, 0, 0, 0, 2, 0).percent is None
    assert Seen(1, 2, 5, 8, 2, 0).percent == 62.5
    assert Seen(1, 2, 5, 8, 2, 1).finished() == Seen(2, 2, 8, 8, 2, 1)


def test_properties_are_written_so_that_java_reads_what_was_meant():
    assert files.as_text({"spark.b": " a\\b\n#x", "spark.a": "1=2: 3"}) == "spark.a=1=2: 3\nspark.b=\\ a\\\\b\\n#x\n"


def test_the_files_have_the_users_properties_headraces_and_the_pods(tmp_path):
    layout = files.Layout(tmp_path / "spark", tmp_path / "outputs")
    pod = {"HEADRACE_POD_NAME": "job-1-0-x", "HEADRACE_POD_IP": "fd00::7", "HEADRACE_SPARK_JARS": "/opt/spark-jars"}

    files.write(SPARK, layout, 4040, pod)

    lines = (layout.conf / "spark-defaults.conf").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    assert properties["spark.sql.shuffle.partitions"] == "64"
    assert properties["spark.executor.instances"] == "3"
    assert properties["spark.kubernetes.driver.pod.name"] == "job-1-0-x"
    assert (properties["spark.driver.host"], properties["spark.driver.bindAddress"]) == ("[fd00::7]", "::")
    assert properties["spark.driver.extraClassPath"] == "/opt/spark-jars/*"
    template = Path(properties["spark.kubernetes.executor.podTemplateFile"])
    assert json.loads(template.read_text())["spec"]["automountServiceAccountToken"] is False
    assert layout.events.is_dir()


def test_the_script_finds_addresses_that_spark_reads(tmp_path):
    found = files.environment(CONFIG, SPARK, files.Layout(tmp_path, tmp_path))
    assert found["HEADRACE_INPUT_RAW"] == "s3a://team-a/raw/"
    assert found["HEADRACE_DATASET_DIR"] == f"s3a://team-a/headrace/staging/{CONFIG.job.uid}/attempt-1"
    assert found["SPARK_CONF_DIR"] == str(tmp_path / "conf")


ASKED = {
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@10.0.0.7:7078",
    "SPARK_EXECUTOR_ID": "2",
    "SPARK_EXECUTOR_CORES": "1",
    "SPARK_APPLICATION_ID": "spark-1",
    "SPARK_EXECUTOR_POD_IP": "10.0.0.8",
    "SPARK_RESOURCE_PROFILE_ID": "0",
    "SPARK_EXECUTOR_POD_NAME": "job-exec-2",
    "SPARK_EXECUTOR_MEMORY": "900m",
}


def test_an_executor_is_started_with_what_spark_has_said():
    options = {f"SPARK_JAVA_OPT_{number}": f"-Dn={number}" for number in (0, 10, 2)}
    words = command({**ASKED, **options, "HEADRACE_SPARK_JARS": "/opt/spark-jars"}, Path("/spark"))
    assert words[:5] == ["java", "-Dn=0", "-Dn=2", "-Dn=10", "-Xmx900m"]
    assert words[words.index("-cp") + 1] == "/opt/spark-jars/*:/spark/jars/*"
    assert words[words.index("--executor-id") + 1] == "2"
    with pytest.raises(KeyError, match="SPARK_DRIVER_URL"):
        command({name: value for name, value in ASKED.items() if name != "SPARK_DRIVER_URL"}, Path("/spark"))


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (UNSCHEDULABLE, "0/3 nodes: Insufficient memory."),
        (
            {
                "status": {
                    "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}]
                }
            },
            "ImagePullBackOff: no",
        ),
        (
            {"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 1}}}]}},
            "its container ended with exit code 1",
        ),
        ({"status": {"phase": "Pending"}}, ""),
    ],
)
def test_why_an_executor_does_not_start_is_told_in_the_clusters_words(pod, why):
    assert why_pending(pod) == why


def test_executors_that_do_not_come_are_one_failure():
    failure = executors_pending(3, 600, [{}, UNSCHEDULABLE])
    assert failure.reason is Reason.SPARK_EXECUTORS_PENDING
    assert failure.failure_class == "Scheduling"
    assert "none of the 3 executors was there after 600 s: 0/3 nodes: Insufficient memory." in failure.message
    assert "no pod was made" in executors_pending(3, 600, []).message


CUT_OFF = b"100\r\n[{"


@contextmanager
def serving(answer):
    """An HTTP server on loopback: `answer` gets path and body, and returns JSON, or CUT_OFF: a chunk without an end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length") or 0)
            told = answer(
                f"{self.command} {self.path}" if self.command == "DELETE" else self.path,
                self.rfile.read(length),
                self.headers,
            )
            found = told if told is CUT_OFF else json.dumps(told).encode()
            self.send_response(200)
            if told is CUT_OFF:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        do_POST = do_DELETE = do_GET

        def log_message(self, format, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("missing", [None, "create", "delete"])
def test_a_service_account_without_a_right_is_told_before_the_script_starts(tmp_path, missing):
    (tmp_path / "token").write_text("abc\n")

    def answer(path, body, headers):
        assert headers["Authorization"] == "Bearer abc"
        asked = json.loads(body)["spec"]["resourceAttributes"]
        assert (asked["resource"], asked["namespace"]) == ("pods", "team-a")
        return {"status": {"allowed": asked["verb"] != missing}}

    with serving(answer) as port:
        refused = Cluster(f"http://127.0.0.1:{port}", "team-a", tmp_path).refused()
    if missing is None:
        assert refused is None
    else:
        assert (refused.reason, refused.failure_class) == (Reason.SPARK_NOT_ALLOWED, "Config")
        assert f"may not {missing} pods in namespace team-a" in refused.message
        assert "headrace tenant add" in refused.hint


def test_outside_of_a_cluster_nobody_is_asked(tmp_path):
    assert Cluster.around({}, "team-a", tmp_path) is None
    assert Cluster.around({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "team-a", tmp_path) is None  # no token


def test_an_answer_of_the_api_server_that_is_cut_off_is_one_that_did_not_come(tmp_path):
    (tmp_path / "token").write_text("abc")
    with (
        serving(lambda path, body, headers: CUT_OFF) as port,
        pytest.raises(OSError, match="not whole"),
    ):
        Cluster(f"http://127.0.0.1:{port}", "team-a", tmp_path).executors("uid-1")


def test_executors_that_an_earlier_attempt_has_left_are_deleted(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("abc")
    asked = []
    with serving(lambda path, body, headers: asked.append(path) or {}) as port:
        cluster = Cluster(f"http://127.0.0.1:{port}", "team-a", tmp_path)
        monkeypatch.setattr(Cluster, "around", lambda *_: cluster)
        driver.clear_executors("team-a", "uid-1")
    selector = "headrace.dev%2Ftrainingjob-uid%3Duid-1%2Cspark-role%3Dexecutor"
    assert asked == [f"DELETE /api/v1/namespaces/team-a/pods?labelSelector={selector}"]

    driver.clear_executors("team-a", "uid-1")  # the API server is gone: no reason to fail


def test_a_program_whose_executors_never_come_is_given_up_with_the_schedulers_words(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("abc")
    monkeypatch.setattr("headrace_trainer.launcher.spark.watch._EVERY_SECONDS", 0.05)

    def answer(path, body, headers):
        if not asked:
            asked.append(path)
            return CUT_OFF
        if "/pods?" in path:
            return {"items": [UNSCHEDULABLE]}
        if path.endswith("/stages"):
            return [stage(0, "PENDING")]
        return [DRIVER] if path.endswith("/allexecutors") else [{"id": "spark-1"}]

    asked, told, given_up = [], [], threading.Event()
    failures = []

    def give_up(failure):
        failures.append(failure)
        given_up.set()

    impatient = parse_config(
        wire_examples.text("config-spark").replace('"pendingSeconds": 600.0', '"pendingSeconds": 0.2')
    ).prepare.spark
    assert impatient.pending_seconds == 0.2
    with serving(answer) as port:
        cluster = Cluster(f"http://127.0.0.1:{port}", "team-a", tmp_path)
        watch = Watch(impatient, port, "uid-1", cluster, told.append, give_up)
        watch.start()
        assert given_up.wait(20)
    assert told == [Seen(0, 1, 0, 4, 0, 0)]
    assert "Insufficient memory" in failures[0].message


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("train/part-00000-x.parquet", True),
        ("train/_SUCCESS", False),
        ("train/_temporary/0/part-00000", False),
        ("train/", False),
        ("train/_metadata", True),
    ],
)
def test_what_a_write_leaves_beside_the_data_is_none(path, kept):
    assert is_data(path) is kept


class Objects:
    """A store that has objects by their keys, and copies them."""

    def __init__(self, objects):
        self.objects = dict(objects)

    def list(self, prefix, patience):
        return [
            Listed(key, len(data), hashlib.md5(data).hexdigest())
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix.key)
        ]

    def sha256(self, place, patience):
        return hashlib.sha256(self.objects[place.key]).hexdigest()

    def copy(self, source, target, patience):
        if source.key not in self.objects:
            raise NotFound(str(source))
        self.objects[target.key] = self.objects[source.key]

    def delete(self, place, patience):
        del self.objects[place.key]


STAGED = Place("b", "staging/uid/attempt-2")
ROOM = Place("b", "datasets/x")


def staged(**more):
    objects = {"staging/uid/attempt-1/old.csv": b"old", "staging/uid/attempt-2/train/_SUCCESS": b""}
    store = Objects(objects | {f"staging/uid/attempt-2/{name}": data for name, data in more.items()})
    return store, Staged(STAGED, store, Patience(1))


def test_what_executors_have_written_is_digested_copied_and_taken_away():
    name = f"train/part-00000-{UUID}.csv"
    store, left = staged(**{name: b"a,b"})

    found = left.read(ROOM)
    left.put(found.files, ROOM)
    left.check_unchanged(found)
    left.clear()

    assert [(file.path, file.size) for file in found.files] == [("train/part-00000.csv", 3)]
    assert found.files[0].sha256 == hashlib.sha256(b"a,b").hexdigest()
    assert store.objects == {"datasets/x/train/part-00000.csv": b"a,b"}


def test_an_earlier_attempt_that_goes_on_leaves_a_later_ones_alone():
    """One whose node was taken for lost, and was not."""
    store, later = staged()
    earlier = Staged(Place("b", "staging/uid/attempt-1"), store, Patience(1))
    store.objects = {"staging/uid/attempt-2/train/a.csv": b"a", "staging/uid/attempt-10/a.csv": b"tenth"}

    earlier.clear()
    store.objects["staging/uid/attempt-2/validation/b.csv"] = b"b"

    assert [file.path for file in later.read(ROOM).files] == ["train/a.csv", "validation/b.csv"]
    later.clear()
    assert store.objects == {"staging/uid/attempt-10/a.csv": b"tenth"}


def preparing(store):
    """The stage, of attempt 1 of the job in the example."""
    around = Surroundings(CONFIG, launcher_settings.Settings(), store, None, Report(0), None)
    return Preparing(around)


STAGING = f"headrace/staging/{CONFIG.job.uid}"


def test_what_an_attempt_has_written_that_came_to_nothing_is_taken_away():
    store = Objects({f"{STAGING}/attempt-1/train/a.csv": b"a", f"{STAGING}/attempt-2/b.csv": b"b"})
    preparing(store).tidy(10)
    assert store.objects == {f"{STAGING}/attempt-2/b.csv": b"b"}


def test_it_stays_where_no_time_is_left_or_the_store_is_away():
    store = Objects({f"{STAGING}/attempt-1/train/a.csv": b"a"})
    preparing(store).tidy(0)
    assert store.objects

    def away(*_):
        raise Away

    store.list = away
    preparing(store).tidy(10)


def test_where_the_dataset_is_there_already_what_an_earlier_attempt_has_left_is_taken_away():
    store = Objects({f"{STAGING}/attempt-1/train/a.csv": b"a"})
    stage = preparing(store)
    stage._found = DatasetReference("corpus", "s3://b/x", "sha256:0", 1, 1, "team-a/other", True)
    stage.deliver(Script())
    assert store.objects == {}


def test_an_image_without_spark_is_told_before_anything_is_asked(monkeypatch):
    monkeypatch.setattr(driver, "spark_home", lambda: None)
    with pytest.raises(Failed, match="this image has no PySpark") as raised:
        preparing(Objects({})).begin([])
    assert raised.value.failure.reason is Reason.BAD_CONFIG
    assert "spec.prepare.image" in raised.value.failure.hint


class Java:
    """What a script has started, and goes on."""

    has_session = True


def test_to_be_stopped_is_heard_while_java_is_waited_for(tmp_path):
    inbox = queue.SimpleQueue()
    at = launcher_settings.Settings(launcher_settings.Paths(work=tmp_path), bind="127.0.0.1", grace=0.4)
    log_file = TerminationLog(tmp_path / "record", lambda error: None)
    launcher = Launcher(
        replace(CONFIG, progress_port=0, tracking=None, storage=None, stage=Stage.TRAIN), at, None, inbox, log_file
    )
    threading.Timer(0.3, inbox.put, [StopRequested()]).start()

    began = time.monotonic()
    launcher._linger(Java(), began + 60)

    assert time.monotonic() - began < 30
    assert json.loads((tmp_path / "record").read_text())["outcome"] == "Interrupted"


@pytest.mark.parametrize("change", [{"a.csv": b"other"}, {"b.csv": b"more"}])
def test_what_is_still_written_to_is_no_dataset(change):
    store, left = staged(**{"a.csv": b"first"})
    found = left.read(ROOM)
    store.objects |= {f"staging/uid/attempt-2/{name}": data for name, data in change.items()}
    with pytest.raises(Failed) as raised:
        left.check_unchanged(found)
    assert raised.value.failure.reason is Reason.NO_DATASET
    assert next(iter(change)) in raised.value.failure.message


def test_what_is_gone_before_it_is_copied_is_no_dataset():
    store, left = staged(**{"a.csv": b"first"})
    found = left.read(ROOM)
    del store.objects["staging/uid/attempt-2/a.csv"]
    with pytest.raises(Failed, match="taken away"):
        left.put(found.files, ROOM)


def test_a_program_that_has_written_nothing_has_made_no_dataset():
    with pytest.raises(Failed, match="left nothing below s3://b/staging/uid/attempt-2"):
        staged()[1].read(ROOM)


UUID = "e9075983-6f16-4830-95b8-c12a438546b6"
OTHER = "00075983-6f16-4830-95b8-c12a438546b6"


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ([f"train/part-00000-{UUID}-c000.snappy.parquet"], ["train/part-00000-c000.snappy.parquet"]),
        ([f"part-00000-{UUID}.csv", f"y=1/part-00000-{UUID}.csv"], ["part-00000.csv", "y=1/part-00000.csv"]),
        # Two writes into one folder: both keep their names.
        ([f"part-00000-{UUID}.csv", f"part-00000-{OTHER}.csv"], [f"part-00000-{OTHER}.csv", f"part-00000-{UUID}.csv"]),
        (["words.txt"], ["words.txt"]),
    ],
)
def test_a_file_loses_the_random_part_of_its_name_where_that_is_clear(written, named):
    assert sorted(names({path: Listed(f"s/{path}", 1, "v") for path in written})) == named
