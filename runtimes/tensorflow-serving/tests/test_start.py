"""From the command line to readiness, and the message that a failed start leaves."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from serving_support import PATIENCE_SECONDS

from headrace_common.cpus import available_cpus
from headrace_serving.failures import Reason, StartError
from headrace_tensorflow_serving import monitoring, settings, versions

REQUIRED = ["--model_name=m", "--model_base_path=/x"]


def test_the_pods_command_line_is_understood(tmp_path):
    file = tmp_path / "monitoring.config"
    file.write_text('prometheus_config { enable: true, path: "/monitoring/prometheus/metrics" }')

    read = settings.parse(
        [
            "--port=8500",
            "--rest_api_port=8080",
            "--model_name=text",
            "--model_base_path=/models/current/tensorflow",
            f"--monitoring_config_file={file}",
        ]
    )

    assert (read.port, read.rest_api_port, read.model_name) == (8500, 8080, "text")
    assert read.model_base_path == Path("/models/current/tensorflow")
    assert read.metrics_path == "/monitoring/prometheus/metrics"
    assert read.rest_timeout_seconds == 30
    assert read.intra_op_threads == read.inter_op_threads == available_cpus()


@pytest.mark.parametrize(
    "flags",
    [
        ("--port=x",),
        ("--port=70000",),
        ("--rest_api_port=0",),
        ("--port=8501",),
        ("--nonsense=1",),
        ("--model_nam=m",),
        ("--model_name=a/b",),
        ("--model_name=a:b",),
        ("--rest_api_timeout_in_ms=0",),
        ("--grace_seconds=nan",),
        ("--monitoring_config_file=/does/not/exist",),
        ("positional",),
    ],
)
def test_a_bad_flag_is_refused(flags):
    with pytest.raises(StartError) as caught:
        settings.parse([*REQUIRED, *flags])
    assert caught.value.reason is Reason.BAD_CONFIG


def test_the_digest_is_that_of_the_manifest_beside_the_base_path(tmp_path):
    (tmp_path / "manifest.json").write_bytes(b"{}")
    read = settings.parse(["--model_name=m", f"--model_base_path={tmp_path / 'tensorflow'}"])
    assert read.digest == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('prometheus_config { enable: true, path: "/metrics" }', "/metrics"),
        ('prometheus_config: {\n  enable: true\n  path: "/metrics"\n}\n', "/metrics"),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ("prometheus_config { enable: false }", None),
        ("", None),
    ],
)
def test_the_monitoring_file_says_where_the_metrics_are(tmp_path, text, path):
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    assert monitoring.metrics_path(file) == path


@pytest.mark.parametrize("text", ["{", "unknown: 1", 'prometheus_config { enable: true, path: "metrics" }'])
def test_a_monitoring_file_that_says_something_else_is_refused(tmp_path, text):
    file = tmp_path / "monitoring.config"
    file.write_text(text)
    with pytest.raises(StartError) as caught:
        monitoring.metrics_path(file)
    assert caught.value.reason is Reason.BAD_CONFIG


def test_the_highest_version_is_found_by_its_number(models):
    names = ("9", "10", "0010x", "-11", "1e3", "99999999999999999999", "²")
    base_path = models.files("versions", {f"{name}/saved_model.pb": b"" for name in names} | {"11": b"a file"})

    version = versions.latest(base_path)

    assert (version.number, version.path) == (10, base_path / "10")


@pytest.mark.parametrize(
    "files", [{}, {"x/saved_model.pb": b""}, {"1/nothing": b""}], ids=["empty", "name", "no model"]
)
def test_a_base_path_without_a_model_is_refused(models, files, request):
    with pytest.raises(StartError) as caught:
        versions.latest(models.files(f"without-{request.node.callspec.id}", files))
    assert caught.value.reason is Reason.MODEL_NOT_FOUND


def test_a_failed_start_leaves_a_termination_message_and_no_traceback(servers, models):
    corrupt = models.files("corrupt", {"1/saved_model.pb": b"junk" * 100})

    by_flag = servers.start(corrupt, "--nonsense", wait=False)
    by_folder = servers.start(models.files("none", {}), wait=False)
    by_model = servers.start(corrupt, wait=False)

    common = {"protocol": 1, "outcome": "Failed", "digest": None}
    assert by_flag.why_not_started() == {**common, "class": "Config", "reason": "BadConfig"}
    assert by_folder.why_not_started() == {**common, "class": "Data", "reason": "ModelNotFound"}
    assert by_model.why_not_started() == {**common, "class": "Data", "reason": "ModelCorrupt"}


def test_a_model_that_cannot_be_served_is_unsupported(servers, models):
    """It has no signature, or calls what is not there."""
    import tensorflow as tf

    base_path = models.files("unsupported", {})
    module = tf.Module()
    module.weight = tf.Variable(1.0)
    tf.saved_model.save(module, str(base_path / "1"))

    calls_python = models.function("calls_python", lambda x: tf.py_function(lambda value: value * 2, [x], tf.float32))

    without_signature, with_python = (servers.start(path, wait=False) for path in (base_path, calls_python))

    assert without_signature.why_not_started()["reason"] == "ModelUnsupported"
    assert with_python.why_not_started()["reason"] == "ModelUnsupported"
    assert "tf.py_function" in with_python.log.read_text()


def test_a_port_in_use_ends_the_start_with_a_reason(servers, models, many_server):
    port = many_server.target.rsplit(":", 1)[1]
    rest_port = many_server.url.rsplit(":", 1)[1]

    by_grpc = servers.start(models.text.base_path, f"--port={port}", wait=False)
    assert by_grpc.why_not_started()["reason"] == "AddressInUse"
    by_rest = servers.start(models.text.base_path, "--port=0", f"--rest_api_port={rest_port}", wait=False)
    assert by_rest.why_not_started()["reason"] == "AddressInUse"


def test_sigterm_while_the_model_is_loaded_ends_the_server_at_once(servers, tmp_path):
    version = tmp_path / "endless" / "1"
    version.mkdir(parents=True)
    # The one file is there; of the other one, which TensorFlow reads first, nothing ever comes.
    (version / "saved_model.pbtxt").touch()
    os.mkfifo(version / "saved_model.pb")
    server = servers.start(version.parent, wait=False)
    until = time.monotonic() + PATIENCE_SECONDS
    while "loading" not in server.log.read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address)

    assert server.stop() == 0
