"""spec.explain: what is made of it, what is said of it, and that it costs those that infer nothing."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.modelservice import ModelService, ModelServiceStatus
from headrace.kube.resources import DEPLOYMENTS, HTTPROUTES, SERVICES
from headrace.serving.explainer.observed import is_explainers, read_explainer
from headrace.serving.explainer.plan import plan_explainer
from headrace.serving.observed import Observed, ObservedExplainer, Owned, Trouble, read_missing_pods, refused
from headrace.serving.plan import plan
from headrace.serving.revision import render_template, revision_name
from runtime_builders import runtimes
from serving_builders import NOW, ROUTE, UID, artifact, model_service, serving_pod
from training_builders import SETTINGS
from words import unclear

IMAGES = replace(SETTINGS, loader_image="headrace/loader:1", runtimes=runtimes("o:1"), explainer_image="e:1")
BACKGROUND = {"configMap": {"name": "rows", "key": "sample.json"}}


def explained(explain=None, **spec):
    """A service whose version 1 serves."""
    service = model_service(**({} if explain is None else {"explain": explain}), **spec)
    stable = {
        "revision": revision_name(service, artifact(1)),
        "uri": artifact(1).uri,
        "digest": artifact(1).digest,
        "model": {"name": "team-a.text", "version": "1"},
        "replicas": 2,
    }
    return service.model_copy(
        update={"status": ModelServiceStatus.model_validate({"phase": "Stable", "stable": stable})}
    )


def seen(service, **explainer):
    """Everything of the service is well; of the explainer what a test says."""
    stable = service.status.stable.revision
    pods = tuple(serving_pod(f"{stable}-{index}", stable) for index in range(2))
    return Observed(
        artifact(1),
        None,
        pods=pods,
        templates={stable: render_template(service, stable, artifact(1), IMAGES)},
        weights={stable: 100},
        route_accepted=True,
        explainer=ObservedExplainer(**explainer),
    )


def objects(service, **explainer):
    wanted = plan_explainer(service, service.status, seen(service, **explainer), IMAGES)
    return dict(wanted.applies)


def ready(revision, count=1):
    return tuple(serving_pod(f"explain-{index}", revision) for index in range(count))


def condition(service, observed):
    found = [c for c in plan(service, observed, NOW, IMAGES).status["conditions"] if c["type"] == "ExplainerReady"]
    return found[0] if found else None


# --- objects ----------------------------------------------------------------------------------------------------------


def test_it_serves_the_stable_versions_bytes_with_limits_of_its_own():
    service = explained({"budget": 100, "deadline": "10s", "resources": {"limits": {"cpu": "2"}}, "replicas": 3})

    deployment = objects(service)[DEPLOYMENTS]

    assert (deployment["metadata"]["name"], deployment["spec"]["replicas"]) == ("text-explain", 3)
    pod = deployment["spec"]["template"]["spec"]
    (loader,), (server,) = pod["initContainers"], pod["containers"]
    load = json.loads(loader["env"][0]["value"])
    assert (load["uri"], load["digest"], load["formats"]) == (artifact(1).uri, artifact(1).digest, ["ONNX"])
    assert server["image"] == "e:1"
    assert {"--model-name=text", "--model-version=1", "--budget=100", "--request-timeout=10"} <= set(server["args"])
    assert server["resources"] == loader["resources"] == {"limits": {"cpu": "2"}}
    assert server["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("memory", [{}, {"memory": "1Gi"}])
def test_where_nobody_names_the_cpu_it_yields_it(memory):
    explain = {"resources": {"limits": memory}}
    (server,) = objects(explained(explain))[DEPLOYMENTS]["spec"]["template"]["spec"]["containers"]

    assert server["resources"] == {"limits": memory | {"cpu": "1"}, "requests": {"cpu": "10m"}}


def test_it_runs_where_the_servers_may_run_and_as_whom_but_with_no_priority_or_sidecar_of_theirs():
    placed = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "serving"},
        "tolerations": [{"key": "serving", "operator": "Exists"}],
    }
    beside = {"priorityClassName": "high", "containers": [{"name": "proxy", "image": "p"}]}
    service = explained({}, podTemplate={"spec": placed | beside}, serviceAccountName="reader")

    pod = objects(service)[DEPLOYMENTS]["spec"]["template"]["spec"]

    assert {field: pod[field] for field in placed} == placed
    assert "priorityClassName" not in pod
    assert [container["name"] for container in pod["containers"]] == ["server"]
    assert pod["serviceAccountName"] == "reader"


def test_no_service_of_a_revision_finds_its_pods_and_the_services_policy_is_theirs_too():
    made = objects(explained({}))

    labels = made[DEPLOYMENTS]["spec"]["template"]["metadata"]["labels"]
    assert "headrace.dev/revision" not in labels
    assert made[DEPLOYMENTS]["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert made[SERVICES]["spec"]["selector"].items() <= labels.items()
    assert labels["headrace.dev/modelservice-uid"] == UID  # what the policy selects


@pytest.mark.parametrize(
    ("path", "asked", "rewritten"),
    [
        (None, "/team-a/text/v2/models/text/explain", "/v2/models/text/explain"),
        ("/text/", "/text/v2/models/text/explain", "/v2/models/text/explain"),
        ("/", "/v2/models/text/explain", None),
    ],
)
def test_its_route_has_exactly_one_path_and_the_hosts_and_gateways_of_the_service(path, asked, rewritten):
    route = objects(explained({}, route=ROUTE | {"path": path}))[HTTPROUTES]

    (rule,) = route["spec"]["rules"]
    assert rule["matches"] == [{"path": {"type": "Exact", "value": asked}}]
    assert rule["backendRefs"] == [{"name": "text-explain", "port": 8080, "weight": 100}]
    found = [filter_["urlRewrite"]["path"]["replaceFullPath"] for filter_ in rule.get("filters", ())]
    assert found == ([rewritten] if rewritten else [])
    assert (route["spec"]["hostnames"], route["spec"]["parentRefs"]) == (ROUTE["hostnames"], ROUTE["parentRefs"])


def test_a_service_without_a_route_has_none_for_explanations():
    assert set(objects(explained({}, route=None))) == {DEPLOYMENTS, SERVICES}


def test_a_background_is_a_file_of_the_pod():
    pod = objects(explained({"background": BACKGROUND}))[DEPLOYMENTS]["spec"]["template"]["spec"]

    (server,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}
    [volume] = [volume for volume in pod["volumes"] if volume["name"] == "background"]
    assert f"--background={mounts['background']}/{volume['configMap']['items'][0]['path']}" in server["args"]
    assert (volume["configMap"]["name"], volume["configMap"]["items"][0]["key"]) == ("rows", "sample.json")


def test_what_infers_is_the_same_to_the_byte_with_and_without_it():
    def of_revisions(service):
        planned = plan(service, replace(seen(service), templates={}), NOW, IMAGES)
        return json.dumps([obj for _, obj in (*planned.creates, *planned.applies)])

    with_it, without = explained({"background": BACKGROUND}), explained()

    assert of_revisions(with_it) == of_revisions(without)
    assert with_it.status.stable.revision == without.status.stable.revision


def test_it_follows_what_is_stable_and_not_the_canary():
    service = explained({})
    canary = service.status.stable.model_copy(update={"revision": "text-canary", "uri": "s3://team-a/models/2"})
    rolling = service.status.model_copy(update={"canary": canary})

    wanted = plan_explainer(service, rolling, seen(service), IMAGES).applies
    assert "s3://team-a/models/2" not in json.dumps([obj for _, obj in wanted])

    promoted = rolling.model_copy(update={"stable": canary, "canary": None})
    wanted = plan_explainer(service, promoted, seen(service), IMAGES).applies
    assert "s3://team-a/models/2" in json.dumps([obj for _, obj in wanted])


@pytest.mark.parametrize("route", [ROUTE, None])
def test_nothing_of_it_stays_when_the_field_goes(route):
    names = tuple(Owned(kind, "text-explain", f"uid-{kind.plural}", "") for kind in (DEPLOYMENTS, SERVICES, HTTPROUTES))
    service = explained(route=route)

    wanted = plan_explainer(service, service.status, seen(service, owned=names), IMAGES)

    assert wanted.applies == ()
    assert {delete.uid for delete in wanted.deletes} == {"uid-deployments", "uid-services", "uid-httproutes"}


def test_while_another_server_is_rolled_out_what_the_stable_one_serves_is_explained():
    service = explained({})
    observed = seen(service, owned=(Owned(DEPLOYMENTS, "text-explain", "uid-explain", ""),))
    runtime = service.spec.runtime.model_copy(update={"name": "tensorflow-serving"})
    changed = service.model_copy(update={"spec": service.spec.model_copy(update={"runtime": runtime})})

    wanted = plan_explainer(changed, changed.status, observed, IMAGES)

    assert wanted.deletes == ()
    assert DEPLOYMENTS in dict(wanted.applies)
    assert condition(changed, observed)["reason"] != "FormatNotServed"


def test_before_anything_is_stable_there_is_none():
    service = model_service(explain={})
    observed = Observed(artifact(1), None)

    assert plan_explainer(service, service.status, observed, IMAGES).applies == ()
    assert condition(service, observed)["reason"] == "NotYet"


# --- what is said -----------------------------------------------------------------------------------------------------

NOT_EXPLAINABLE = Trouble(
    "Data", "NotExplainable", "The input 'x' takes texts.", "p", "server", "Take it off.", 2, True
)
NO_PODS = read_missing_pods({"status": {"conditions": [{"type": "ReplicaFailure", "status": "True"}]}})
CASES = {
    "it explains": ("True", "Explaining", lambda s: {"pods": ready(s), "route_accepted": True}),
    "no pod is ready": ("False", "WaitingForPods", lambda _: {}),
    "the old version's pods are still there": ("False", "WaitingForPods", lambda _: {"pods": ready("text-old")}),
    "not explainable": (
        "False",
        "NotExplainable",
        lambda s: {"pods": (serving_pod("p", s, NOT_EXPLAINABLE),), "route_accepted": True},
    ),
    "no pods can be made": ("False", "PodsRefused", lambda _: {"missing_pods": NO_PODS}),
    "the API server refuses": (
        "False",
        "Refused",
        lambda s: {"refusal": refused("422: x", for_good=True), "pods": ready(s)},
    ),
    "no Gateway answers": ("Unknown", "RoutePending", lambda s: {"pods": ready(s)}),
    "the Gateway refuses": (
        "False",
        "RouteRefused",
        lambda s: {"pods": ready(s), "route_accepted": False, "route_message": "ResolvedRefs: x"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_its_state_is_told_by_one_condition_and_touches_nothing_else(name):
    value, reason, explainer = CASES[name]
    service = explained({})
    stable = service.status.stable.revision

    with_it = plan(service, seen(service, **explainer(stable)), NOW, IMAGES)
    without = plan(explained(), seen(service), NOW, IMAGES)

    told = [c for c in with_it.status["conditions"] if c["type"] == "ExplainerReady"]
    assert [(c["status"], c["reason"]) for c in told] == [(value, reason)]
    others = [c for c in with_it.status["conditions"] if c["type"] != "ExplainerReady"]
    assert with_it.status | {"conditions": others} == without.status
    assert unclear(with_it) == []


def test_where_it_answers_is_in_the_message():
    service = explained({})
    well = seen(service, pods=ready(service.status.stable.revision), route_accepted=True)
    assert "http://text.example.com/team-a/text/v2/models/text/explain" in condition(service, well)["message"]

    inside = explained({}, route=None)
    assert "http://text-explain.team-a.svc:8080/v2/models/text/explain" in condition(inside, well)["message"]


def test_the_condition_goes_with_the_field():
    service = explained({})
    observed = seen(service, pods=ready(service.status.stable.revision), route_accepted=True)
    status = plan(service, observed, NOW, IMAGES).status

    document = explained().model_dump(mode="json", by_alias=True) | {"status": status}

    assert condition(ModelService.model_validate(document), observed) is None


def test_a_pod_that_is_short_of_memory_is_told_which_field_to_raise():
    ended = {"exitCode": 137, "reason": "OOMKilled"}
    labels = {"headrace.dev/role": "explainer", "headrace.dev/explains": "text-1"}
    pod = {
        "metadata": {"name": "p", "labels": labels},
        "status": {"containerStatuses": [{"name": "server", "state": {"terminated": ended}}]},
    }
    assert is_explainers(pod)

    [found] = read_explainer((), [pod], timedelta(seconds=2), None).pods_of("text-1")

    assert "spec.explain.resources.limits.memory" in found.trouble.hint
