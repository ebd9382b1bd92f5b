"""A revision: a name that only the wish and the bytes change, and the pods that serve it."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.modelservice import ModelServiceStatus
from headrace.serving.observed import Observed, read_pod
from headrace.serving.revision import Artifact, render_service, render_template, revision_name
from headrace.serving.status import finish_status
from headrace_onnxruntime import settings as onnxruntime_settings
from serving_builders import NOW, artifact, model_service
from training_builders import SETTINGS

NOTHING_SEEN = Observed(artifact=None, artifact_problem=None)


def test_the_name_is_the_one_that_earlier_releases_gave():
    """A golden name: when this fails, an upgrade of the operator would roll every model of every user."""
    assert revision_name(model_service(), artifact(1)) == "text-6b0de1a3"


@pytest.mark.parametrize(
    "spec",
    [
        {"scaling": {"replicas": 7}},
        {"rollout": {}},
        {"route": None},
        {"model": {"registry": {"name": "text", "version": "1"}}},
    ],
)
def test_what_changes_no_pod_changes_no_name(spec):
    assert revision_name(model_service(**spec), artifact(1)) == revision_name(model_service(), artifact(1))


@pytest.mark.parametrize(
    "spec",
    [
        {"resources": {"limits": {"memory": "1Gi"}}},
        {"storage": {"secretRef": {"name": "other"}}},
        {"serviceAccountName": "server"},
        {"podTemplate": {"spec": {"nodeSelector": {"pool": "serving"}}}},
    ],
)
def test_what_changes_the_pods_changes_the_name(spec):
    assert revision_name(model_service(**spec), artifact(1)) != revision_name(model_service(), artifact(1))


def test_the_same_bytes_under_another_version_or_path_are_the_same_revision():
    moved = replace(artifact(1), version="9", uri="s3://elsewhere/x")

    assert revision_name(model_service(), moved) == revision_name(model_service(), artifact(1))


def test_a_bare_uri_is_told_by_its_path():
    one, other = (revision_name(model_service(), Artifact(f"s3://team-a/{name}")) for name in "ab")

    assert one != other


def test_the_loader_is_told_what_to_verify_and_gets_the_namespaces_own_credentials():
    service = model_service(storage={"secretRef": {"name": "headrace-storage-read"}})

    (loader,) = render_template(service, "text-1", artifact(1), SETTINGS)["spec"]["initContainers"]

    load = json.loads(loader["env"][0]["value"])
    assert (load["uri"], load["digest"], load["formats"]) == (artifact(1).uri, artifact(1).digest, ["ONNX"])
    assert load["storage"]["endpoint"] == "http://s3:7070"
    assert loader["envFrom"] == [{"secretRef": {"name": "headrace-storage-read"}}]


def test_no_pod_is_rendered_twice_alike_for_two_services():
    """Their labels carry the service's uid: a Service never answers with another one's pods."""
    template = render_template(model_service(), "text-1", artifact(1), SETTINGS)

    assert template["metadata"]["labels"]["headrace.dev/modelservice-uid"] == model_service().metadata.uid


def test_tensorflow_serving_gets_the_saved_model_under_its_version_and_the_official_flags():
    service = model_service(runtime={"name": "tensorflow-serving"})

    template = render_template(service, "text-1", artifact(7), SETTINGS)

    (loader,), (server,) = template["spec"]["initContainers"], template["spec"]["containers"]
    load = json.loads(loader["env"][0]["value"])
    assert (load["formats"], load["layout"]) == (["TensorFlow"], {"TensorFlow": "tensorflow/7"})
    assert "--model_base_path=/models/current/tensorflow" in server["args"]
    assert f"--model_name={service.metadata.name}" in server["args"]


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorflow-serving"])
def test_a_service_has_the_ports_that_its_server_answers_requests_on(runtime):
    service = model_service(runtime={"name": runtime})
    template = render_template(service, "text-1", artifact(1), SETTINGS)

    rendered = render_service(service, "text-1", "text-1", template)

    assert rendered["spec"]["ports"] == [
        {"name": "http", "port": 8080, "targetPort": "http"},
        {"name": "grpc", "port": 8500, "targetPort": "grpc", "appProtocol": "kubernetes.io/h2c"},
    ]


def test_a_revision_of_an_older_release_keeps_the_ports_that_it_has():
    template = render_template(model_service(), "text-1", artifact(1), SETTINGS)
    (server,) = template["spec"]["containers"]
    server["ports"] = [port for port in server["ports"] if port["name"] != "grpc"]

    rendered = render_service(model_service(), "text-1", "text-1", template)

    assert [port["name"] for port in rendered["spec"]["ports"]] == ["http"]


def test_the_server_of_onnx_models_takes_the_flags_that_it_is_rendered_with():
    (container,) = render_template(model_service(), "text-1", artifact(1), SETTINGS)["spec"]["containers"]

    settings = onnxruntime_settings.parse(container["args"])

    assert [port["containerPort"] for port in container["ports"]] == [
        settings.port,
        settings.grpc_port,
        settings.metrics_port,
    ]


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorflow-serving"])
@pytest.mark.parametrize(("throttle", "drain"), [(2, 8), (10, 24)])
def test_a_pod_that_goes_takes_requests_until_its_gateway_has_let_go_of_it(runtime, throttle, drain):
    settings = replace(SETTINGS, gateway_throttle=timedelta(seconds=throttle))

    pod = render_template(model_service(runtime={"name": runtime}), "text-1", artifact(1), settings)["spec"]

    (server,) = pod["containers"]
    assert server["lifecycle"]["preStop"]["sleep"]["seconds"] == drain
    assert pod["terminationGracePeriodSeconds"] == drain + 30


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorflow-serving"])
def test_the_counters_are_where_the_pods_say(runtime):
    template = render_template(model_service(runtime={"name": runtime}), "text-1", artifact(1), SETTINGS)
    pod = read_pod({"metadata": {"name": "p", **template["metadata"]}})

    (server,) = template["spec"]["containers"]
    assert pod.metrics[0] in [port["containerPort"] for port in server["ports"]]
    assert pod.metrics[1] == template["metadata"]["annotations"]["prometheus.io/path"]


@pytest.mark.parametrize(
    ("runtime", "path"), [("onnxruntime", "/v2/models/text"), ("tensorflow-serving", "/v1/models/text")]
)
def test_the_url_in_status_is_where_the_server_answers(runtime, path):
    status = finish_status(model_service(runtime={"name": runtime}), ModelServiceStatus(), NOTHING_SEEN, NOW, SETTINGS)

    assert status["url"] == f"http://text.example.com/team-a/text{path}"


def rendered(**spec):
    return render_template(model_service(**spec), "text-1", artifact(1), SETTINGS)


def test_pods_are_placed_pulled_and_named_by_the_pod_template():
    asked = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "serving"},
        "tolerations": [{"key": "serving", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
    }
    extra = [{"name": "server", "env": [{"name": "LOG", "value": "$(HOME)"}]}, {"name": "side", "image": "side:1"}]

    template = rendered(serviceAccountName="server", podTemplate={"spec": asked | {"containers": extra}})

    pod = template["spec"]
    assert {name: pod[name] for name in asked} == asked
    assert pod["serviceAccountName"] == "server"
    server, side = pod["containers"]
    assert server["image"] == SETTINGS.runtimes["onnxruntime"].image
    assert server["env"] == [{"name": "LOG", "value": "$(HOME)"}]
    assert side == {"name": "side", "image": "side:1"}
    service = render_service(model_service(), "text", "text-1", template)
    assert [port["name"] for port in service["spec"]["ports"]] == ["http", "grpc"]


def test_a_pod_template_takes_no_label_that_the_selectors_rest_on():
    mine = {"labels": {"team": "a", "headrace.dev/revision": "other", "app.kubernetes.io/managed-by": "me"}}

    labels = rendered(podTemplate={"metadata": mine})["metadata"]["labels"]

    assert labels == rendered()["metadata"]["labels"] | {"team": "a"}


def test_without_the_new_fields_a_template_has_none_of_them():
    assert rendered().keys() == {"metadata", "spec"}
    assert not {"serviceAccountName", "imagePullSecrets", "nodeSelector"} & rendered()["spec"].keys()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, None),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, {"limits": {"cpu": "1", "memory": "1Gi"}}),
        (
            {"limits": {"memory": "1Gi", "nvidia.com/gpu": 1}, "requests": {"cpu": "100m", "memory": "1Gi"}},
            {"limits": {"memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}},
        ),
        ({"limits": {"nvidia.com/gpu": 1}}, None),
    ],
)
def test_the_loader_asks_for_what_the_server_asks_for_but_no_device(asked, expected):
    """A namespace with a quota on limits takes no pod of which one container has none."""
    (loader,) = rendered(resources=asked)["spec"]["initContainers"]

    assert loader.get("resources") == expected


def test_the_releases_pull_secrets_are_asked_for_beside_the_services_own():
    settings = replace(SETTINGS, image_pull_secrets=("registry",))
    own = model_service(podTemplate={"spec": {"imagePullSecrets": [{"name": "mine"}]}})

    pods = [render_template(service, "text-1", artifact(1), settings)["spec"] for service in (model_service(), own)]

    assert [[entry["name"] for entry in pod["imagePullSecrets"]] for pod in pods] == [
        ["registry"],
        ["registry", "mine"],
    ]
