"""No text of a spec, of the settings or of the registry is expanded in a pod: each arrives as it was written."""

import json
from dataclasses import fields, is_dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.podtext import as_written
from headrace.serving.revision import Artifact, render_template
from headrace.training.job import AttemptContext, render_job
from headrace.training.stages import part_of
from kubelet import expand, started
from serving_builders import model_service
from training_builders import SETTINGS, training_job

SECRETS = {"AWS_SECRET_ACCESS_KEY": "the-key", "MLFLOW_TRACKING_PASSWORD": "the-password"}
PLAIN = "plain"
REFERENCES = ["$(AWS_SECRET_ACCESS_KEY)", "x-$(MLFLOW_TRACKING_PASSWORD)-x", "a$$b", "$$(HOME)", "$", "$$$(", "$(NOPE)"]

fragments = st.lists(st.sampled_from(["$", "(", ")", "$(", "AWS_SECRET_ACCESS_KEY", "ä", "x", '"'])).map("".join)


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        ("$(AWS_SECRET_ACCESS_KEY)", "the-key"),
        ("$(NOPE)", "$(NOPE)"),
        ("$$(AWS_SECRET_ACCESS_KEY)", "$(AWS_SECRET_ACCESS_KEY)"),
        ("a$$b$", "a$b$"),
        ("$(open", "$(open"),
        ("cost $5", "cost $5"),
    ],
)
def test_the_kubelet_expands(text, arrives):
    """The oracle of the tests below: Kubernetes' documentation has these cases."""
    assert expand(text, SECRETS) == arrives


@given(st.one_of(st.text(), fragments))
def test_every_text_arrives_byte_for_byte(text):
    pod = {"containers": [{"command": [text], "args": [text], "env": [{"name": "TEXT", "value": text}]}]}

    (container,) = as_written(pod)["containers"]

    process = started(container, SECRETS)
    assert (process["command"], process["args"], process["env"]["TEXT"]) == ([text], [text], text)


def test_what_the_kubelet_does_not_expand_is_left_alone():
    untouched = {
        "readinessProbe": {"exec": {"command": ["a$$b"]}},
        "lifecycle": {"preStop": {"exec": {"command": ["a$$b"]}}},
        "env": [{"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "s", "key": "a$$b"}}}],
    }

    assert as_written({"initContainers": [untouched]}) == {"initContainers": [untouched]}


def test_a_pod_without_dollars_is_left_as_it_is():
    """An upgrade of the operator changes no template that has none: nothing that runs is rolled."""
    for render in PODS.values():
        assert as_written(render(PLAIN)) == render(PLAIN)


# --- whole pods -------------------------------------------------------------------------------------------------------


def hostile(settings, text):
    """The settings with `text` at the end of each of their texts, however deep."""
    found = {entry.name: getattr(settings, entry.name) for entry in fields(settings)}
    texts = {name: f"{value}{text}" for name, value in found.items() if isinstance(value, str)}
    parts = {name: hostile(value, text) for name, value in found.items() if is_dataclass(value)}
    return replace(settings, **texts, **parts)


def training_pod(text):
    job = training_job(
        parameters={"pattern": text, f"key{text}": 1},
        datasets=[{"name": "corpus", "uri": f"s3://team-a/{text}"}],
        entrypoint=text,
        storage={"secretRef": {"name": "headrace-storage"}},
        tracking={"experiment": "text"},
        output={"model": "text", "formats": ["ONNX"]},
    )
    context = AttemptContext(1, text, experiment_id=text, bucket=text)
    return render_job(part_of(job), context, hostile(SETTINGS, text))["spec"]["template"]["spec"]


def serving_pod(runtime):
    def render(text):
        service = model_service(runtime={"name": runtime}, storage={"secretRef": {"name": "headrace-storage-read"}})
        artifact = Artifact(f"s3://team-a/{text}", text, text, text)
        return render_template(service, "text-1", artifact, hostile(SETTINGS, text))["spec"]

    return render


PODS = {
    "training": training_pod,
    "onnxruntime": serving_pod("onnxruntime"),
    "tensorflow-serving": serving_pod("tensorflow-serving"),
}


def processes(pod):
    return [started(container, SECRETS) for kind in ("initContainers", "containers") for container in pod.get(kind, ())]


@pytest.mark.parametrize("text", REFERENCES)
@pytest.mark.parametrize("render", PODS.values(), ids=PODS.keys())
def test_a_reference_in_any_text_arrives_in_a_pod_like_any_other_text(render, text):
    expected = json.loads(json.dumps(processes(render(PLAIN))).replace(PLAIN, text))

    assert processes(render(text)) == expected


def test_a_reference_in_the_users_own_podtemplate_is_kubernetes_own_and_stays():
    env = [{"name": "HERE", "value": "$(POD)/x"}]
    job = training_job(podTemplate={"spec": {"containers": [{"name": "trainer", "env": env, "args": ["$(POD)"]}]}})

    (trainer,) = render_job(part_of(job), AttemptContext(1, "i"), SETTINGS)["spec"]["template"]["spec"]["containers"]

    assert env[0] in trainer["env"]
    assert trainer["args"] == ["$(POD)"]
