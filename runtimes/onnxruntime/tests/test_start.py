"""From the command line to readiness, and the message that a failed start leaves."""

from __future__ import annotations

import json
import time

import pytest
from serving_support import PATIENT

from headrace_onnxruntime import engine, settings
from headrace_serving.failures import Reason, StartError


@pytest.fixture
def refusal(models):
    """Why a folder with these files is refused as a model."""

    def load(name: str, files: dict[str, bytes]) -> Reason:
        with pytest.raises(StartError) as caught:
            engine.load(models.files(name, files), threads=1)
        assert caught.value.message
        assert caught.value.hint
        return caught.value.reason

    return load


@pytest.mark.parametrize("content", [b"", b"junk" * 100], ids=["empty", "junk"])
def test_a_corrupt_model_is_refused(refusal, content):
    assert refusal(f"corrupt-{len(content)}", {"onnx/model.onnx": content}) is Reason.MODEL_CORRUPT


def test_a_missing_model_is_refused(refusal):
    assert refusal("none", {"readme": b""}) is Reason.MODEL_NOT_FOUND


@pytest.mark.parametrize(
    "signature",
    [
        b"{",
        b"[]",
        b'{"inputs": [{"name": "z", "datatype": "FP32", "shape": [-1, 4]}], "outputs": []}',
        b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}], "outputs": []}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 5]}], "outputs": []}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [4]}], "outputs": []}',
    ],
    ids=["not JSON", "a list", "name", "datatype", "dimension", "rank"],
)
def test_a_signature_of_another_model_is_refused(refusal, models, signature, request):
    content = (models.affine() / "onnx" / "model.onnx").read_bytes()
    files = {"onnx/model.onnx": content, "signature.json": signature}
    assert refusal(request.node.callspec.id, files) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    "flags",
    [("--port", "x"), ("--threads", "0"), ("--nonsense",), ("--model-name", "a/b"), ("--request-timeout", "nan")],
)
def test_a_bad_flag_is_refused(flags):
    with pytest.raises(StartError) as caught:
        settings.parse(["--model-dir", "/x", "--model-name", "m", *flags])
    assert caught.value.reason is Reason.BAD_CONFIG


def test_a_failed_start_leaves_a_termination_message_and_no_traceback(servers, models):
    content = (models.tokens() / "onnx" / "model.onnx").read_bytes()
    truncated = models.files("truncated", {"onnx/model.onnx": content[: len(content) // 2]})
    server = servers.start(truncated, wait=False)

    assert server.why_not_started() == {
        "protocol": 1,
        "outcome": "Failed",
        "class": "Data",
        "reason": "ModelCorrupt",
        "digest": "sha256:abc",
    }


def test_a_port_in_use_ends_the_start_with_a_reason(servers, models, affine_server):
    port = affine_server.url.rsplit(":", 1)[1]
    server = servers.start(models.affine(), "--port", port, wait=False)
    assert server.why_not_started()["reason"] == "AddressInUse"


def test_fixed_dimensions_of_the_signature_are_required_of_requests(servers, models):
    content = (models.tokens() / "onnx" / "model.onnx").read_bytes()
    signature = {"inputs": [{"name": "tokens", "datatype": "INT32", "shape": [-1, 3]}], "outputs": []}
    folder = models.files("fixed", {"onnx/model.onnx": content, "signature.json": json.dumps(signature).encode()})
    server = servers.start(folder)

    def status(length: int) -> int:
        entry = {"name": "tokens", "shape": [1, length], "datatype": "INT32", "data": [1] * length}
        return server.infer({"inputs": [entry]}).status

    assert (status(3), status(4)) == (200, 400)


def test_the_digest_is_that_of_the_manifest_where_none_is_given(servers, models):
    content = (models.affine() / "onnx" / "model.onnx").read_bytes()
    folder = models.files("manifest", {"onnx/model.onnx": content, "manifest.json": b"{}"})
    server = servers.start(folder, "--digest", "")
    assert (
        'headrace_model_info{name="m",version="7",'
        'digest="sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",runtime="onnxruntime"}'
    ) in server.metrics()


def test_inferences_are_counted_from_zero_and_probes_are_not(servers, models):
    server = servers.start(models.affine())
    fresh = server.metrics()
    assert fresh['headrace_requests_total{code="200"}'] == fresh['headrace_requests_total{code="500"}'] == 0
    assert fresh['headrace_request_duration_seconds_bucket{le="+Inf"}'] == 0
    assert fresh["headrace_ready"] == 1
    good = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    started = time.monotonic()
    for _ in range(3):
        assert server.infer(good).status == 200
    seconds = time.monotonic() - started
    server.infer({})
    server.get("/v2/models/m")

    metrics = server.metrics()

    assert metrics['headrace_requests_total{code="200"}'] == 3
    assert metrics['headrace_requests_total{code="400"}'] == 1
    assert metrics["headrace_request_duration_seconds_count"] == 3
    assert 0 < metrics["headrace_request_duration_seconds_sum"] < seconds
    assert metrics["headrace_inference_seconds_count"] == 3


def test_sigterm_while_idle_ends_the_server_at_once(servers, models):
    server = servers.start(models.affine(), *PATIENT, "--quiet-seconds", "0")
    assert server.stop() == 0
