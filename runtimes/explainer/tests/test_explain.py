"""What the explainer answers: exact on a linear model, and each bad request refused by its name."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from onnx_models import BIAS, WEIGHTS

ROWS = [[1.0, -2.0, 0.5, 3.0], [0.0, 4.0, 0.0, -1.0]]


def body(rows=ROWS, **more):
    shape = [len(rows), len(rows[0])]
    tensor = {"name": "x", "datatype": "FP32", "shape": shape, "data": rows}
    return {"inputs": [tensor], **more}


def attributions(answer):
    [tensor] = answer["explanations"]
    assert (tensor["name"], tensor["datatype"]) == ("x", "FP32")
    return np.array(tensor["data"]).reshape(tensor["shape"])


@pytest.mark.parametrize("method", ["Auto", "Shapley", "Occlusion"])
def test_of_a_linear_model_each_feature_has_its_weight_times_its_value(affine_server, method):
    reply = affine_server.explain(body(id="q1", parameters={"method": method, "target": 1}))

    answer = reply.json
    assert (reply.status, answer["model_name"], answer["model_version"], answer["id"]) == (200, "m", "7", "q1")
    np.testing.assert_allclose(attributions(answer), np.array(ROWS) * WEIGHTS[:, 1], atol=1e-5)
    told = answer["parameters"]
    assert (told["method"], told["output"], told["target"]) == ("Shapley" if method == "Auto" else method, "y", [1, 1])
    np.testing.assert_allclose(told["prediction"], (np.array(ROWS) @ WEIGHTS + BIAS)[:, 1], atol=1e-5)
    np.testing.assert_allclose(told["base"], [BIAS[1]] * 2, atol=1e-5)
    assert told["complete"] is True
    assert 0 < told["evaluations"] <= 2 * 300 + 10
    assert told["background"] >= 1


def test_what_is_explained_is_the_models_own_answer_unless_a_target_is_named(affine_server):
    answers = np.array(ROWS) @ WEIGHTS + BIAS

    answer = affine_server.explain(body()).json

    best = answers.argmax(axis=1)
    assert answer["parameters"]["target"] == best.tolist()
    np.testing.assert_allclose(attributions(answer), np.array(ROWS) * WEIGHTS[:, best].T, atol=1e-5)


def test_the_same_request_has_the_same_answer(affine_server):
    assert affine_server.explain(body()).body == affine_server.explain(body()).body


def test_rows_are_compared_with_the_background_that_a_file_has(servers, models, tmp_path):
    background = np.array([[1.0, 1.0, 1.0, 1.0], [3.0, -1.0, 1.0, 0.0]])
    file = tmp_path / "background.json"
    file.write_text(json.dumps(body(background.tolist())))

    server = servers.start(models.affine(), "--background", str(file))
    answer = server.explain(body(parameters={"target": 2})).json

    np.testing.assert_allclose(
        attributions(answer), (np.array(ROWS) - background.mean(axis=0)) * WEIGHTS[:, 2], atol=1e-5
    )


@pytest.mark.parametrize(
    ("request_body", "named"),
    [
        (b"{", "JSON"),
        (b"[]", "JSON object"),
        ({"inputs": []}, "'x'"),
        (body([[1.0, 2.0]]), "'x'"),
        (body(ROWS * 3), "4"),
        ({"inputs": [{**body()["inputs"][0], "name": "z"}]}, "'z'"),
        ({"inputs": [{**body()["inputs"][0], "datatype": "INT64"}]}, "FP32"),
        (body(parameters={"method": "Magic"}), "'Magic'"),
        (body(parameters={"method": ["Shapley"]}), "Shapley"),
        (body(parameters={"metod": "Shapley"}), "'metod'"),
        (body(parameters={"output": "z"}), "'z'"),
        (body(parameters={"target": 3}), "3"),
        (body(parameters={"target": -1}), "target"),
        (body(parameters={"target": 1.5}), "target"),
        (body(parameters={"target": True}), "target"),
        (body(parameters={"budget": 0}), "budget"),
        (body(parameters={"budget": 301}), "300"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_bad_request_is_told_what_is_bad(affine_server, request_body, named):
    reply = affine_server.explain(request_body)

    assert (reply.status, set(reply.json)) == (400, {"error"})
    assert named in reply.json["error"]


def test_other_paths_methods_and_sizes_are_refused_as_json(affine_server):
    assert affine_server.call("POST", "/v2/models/m/infer", b"{}").status == 404
    assert affine_server.get("/v2/models/m/explain").status == 405
    assert affine_server.explain(b" " * 200_000).status == 413
    assert affine_server.get("/v2/models/m/ready").json == {"name": "m", "ready": True}
    assert affine_server.call("POST", "/v2/models/m/versions/7/explain", json.dumps(body()).encode()).status == 200


def test_its_counters_are_none_of_those_that_a_rollout_is_judged_by(affine_server):
    affine_server.explain(body())
    affine_server.explain(b"{")

    metrics = affine_server.metrics()
    assert metrics['headrace_explanation_requests_total{code="200"}'] >= 1
    assert metrics['headrace_explanation_requests_total{code="400"}'] >= 1
    assert metrics["headrace_explanation_rows_total"] > 0
    assert not [name for name in metrics if name.startswith("headrace_requests_total")]


def test_of_several_outputs_the_scores_are_explained_and_the_number_of_a_class_is_refused():
    """As of scikit-learn's classifiers: the class, then the probabilities. Its rows are asked one by one."""
    from headrace_explainer.explaining import Explainer
    from headrace_explainer.protocol import Question
    from headrace_onnxruntime.signature import Datatype, Signature, TensorSpec
    from headrace_onnxruntime.warmup import WarmUp
    from headrace_serving.failures import RequestError

    class Engine:
        signature = Signature(
            (TensorSpec("x", Datatype.FP32, (-1, 2)),),
            (TensorSpec("label", Datatype.INT64, (-1,)), TensorSpec("scores", Datatype.FP32, (-1, 2))),
        )

        def run(self, feed):
            assert len(feed["x"]) == 1
            return [feed["x"].argmax(axis=1), feed["x"] * 3]

    rows = {"x": np.array([[1.0, 2.0], [5.0, 1.0]], dtype=np.float32)}
    explainer = Explainer(Engine(), WarmUp(None, rows_are_independent=False), None, 64)

    def of(output):
        question = Question(None, rows, "Shapley", output, None, 64)
        return explainer.explain(question, time.monotonic() + 60, lambda: False)

    scores = of(None)
    assert (scores.output, scores.target.tolist()) == ("scores", [1, 0])
    np.testing.assert_allclose(scores.attributions["x"], [[0, 6], [15, 0]], atol=1e-5)
    with pytest.raises(RequestError, match=r"output 'label' cannot be explained: it is INT64.*can be: 'scores'"):
        of("label")


def test_a_model_that_names_only_the_class_is_not_explainable():
    from headrace_explainer.explaining import require_explainable
    from headrace_onnxruntime.signature import Datatype, Signature, TensorSpec
    from headrace_serving.failures import StartError

    label = Signature(
        (TensorSpec("x", Datatype.FP32, (-1, 2)),),
        (TensorSpec("label", Datatype.INT64, (-1,)),),
    )

    with pytest.raises(StartError, match="no output of scores"):
        require_explainable(label)


# --- a model that cannot be explained ---------------------------------------------------------------------------------


def test_a_model_of_texts_is_not_explainable_and_the_termination_message_says_so(servers, models):
    server = servers.start(models.numbers_of_texts(), wait=False)

    record = server.why_not_started()
    assert (record["class"], record["reason"]) == ("Data", "NotExplainable")


@pytest.mark.parametrize("content", [None, b"{", json.dumps(body([[1.0]])).encode()], ids=["missing", "junk", "shape"])
def test_a_background_that_is_none_of_this_models_is_told_at_the_start(models, tmp_path, content):
    from headrace_explainer import server, settings
    from headrace_serving.failures import Reason, StartError

    file = tmp_path / "background.json"
    if content is not None:
        file.write_bytes(content)
    flags = ("--model-dir", str(models.affine()), "--model-name", "m", "--background", str(file))

    with pytest.raises(StartError, match=r"background\.json") as caught:
        server.load(settings.parse(flags))
    assert caught.value.reason is Reason.BAD_CONFIG
