"""Fixtures of the trainer's tests: the launcher as a process, an MLflow server, an S3 store, all of them real."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from headrace_local import binaries

# The package under test is not installed, it is the one beside these tests; in a pod it lies in /opt/headrace.
sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

from forking import LAUNCHER, Forked, Interpreter, interpreter_of_keras  # noqa: E402
from trainer_support import ACCESS_KEY, S3, SECRET_KEY, TRAINER, Launched, Mlflow, MlflowGate, free_port, mlflow_in  # noqa: E402

Launch = Callable[..., Launched]


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    """One for all tests of a process, those of other folders too."""
    server = mlflow_in(tmp_path_factory.getbasetemp())
    yield server
    server.stop()


@pytest.fixture
def mlflow_gate(mlflow: Mlflow) -> Iterator[MlflowGate]:
    """MLflow by an address that can be taken away."""
    gate = MlflowGate(mlflow)
    yield gate
    gate.close()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    server = S3(str(binaries.ensure().path("versitygw")), tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        server.await_up()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def interpreter() -> Iterator[Interpreter]:
    """One for all tests of a process, those of other folders too."""
    forks = interpreter_of_keras()
    yield forks
    forks.close()


@pytest.fixture(scope="session")
def launchers() -> Iterator[Interpreter]:
    """An interpreter that has imported what the launcher is made of."""
    forks = Interpreter([TRAINER], LAUNCHER, hash_seed="")
    yield forks
    forks.close()


@pytest.fixture
def launch(tmp_path: Path, launchers: Interpreter) -> Iterator[Launch]:
    """Runs the real launcher with a script; whatever is still there at the end of the test is ended."""
    launched: list[Launched] = []

    def start(
        script: str,
        *,
        config: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        attempt: int = 1,
        uid: str = "uid-1",
        port: int = 0,
        host: str = "127.0.0.1",
        before: tuple[str, ...] = (),
        adapter: str = "standin_adapter",
        entrypoint: str = "train.py",
        files: Mapping[str, str | bytes] | None = None,
    ) -> Launched:
        """`before` is a command that starts the launcher, such as unshare; without one it runs in a fork. `files` lie
        beside the script.
        """
        root = tmp_path / f"pod-{len(launched)}"
        source, work = root / "source", root / "work"
        source.mkdir(parents=True)
        work.mkdir()
        for name, content in {entrypoint: script, **(files or {})}.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        port = port or free_port()
        whole = {
            "protocol": 1,
            "job": {"namespace": "team-a", "name": "job", "uid": uid, "attempt": attempt},
            "workers": {"count": 1},
            "source": {"path": str(source), "entrypoint": entrypoint},
            "parameters": {},
            "datasets": [],
            "progressPort": port,
            **(config or {}),
        }
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TRAINER), str(TRAINER / "tests" / "launcher")]),
            "HEADRACE_CONFIG": json.dumps(whole),
            "HEADRACE_WORK_DIR": str(work),
            "HEADRACE_TERMINATION_LOG": str(root / "termination-log"),
            "HEADRACE_BIND": host,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            **(env or {}),
        }
        arguments = ["--adapter", adapter]
        process: Forked | subprocess.Popen[bytes]
        with (root / "log").open("wb") as log:
            if before:
                process = subprocess.Popen(
                    [*before, sys.executable, "-m", "headrace_trainer", *arguments],
                    env=variables,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            else:
                output = log.fileno()
                process = launchers.start("headrace_trainer", arguments, variables, Path.cwd(), output, output)
        launched.append(Launched(process, port, work, root / "termination-log", host))
        return launched[-1]

    yield start
    for one in launched:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
            try:
                one.process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(one.process.pid, signal.SIGKILL)
                one.process.wait()


@pytest.fixture
def train(launch: Launch, interpreter: Interpreter) -> Launch:
    """The same with a script of Keras, which runs in a fork of an interpreter that has imported it."""

    def start(script: str, *, env: dict[str, str] | None = None, **rest: Any) -> Launched:
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        forked = {"HEADRACE_TEST_FORKS": interpreter.address}
        return launch(script, adapter="forked_keras", env={**quiet, **forked, **(env or {})}, **rest)

    return start
