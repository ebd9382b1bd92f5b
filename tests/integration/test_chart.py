"""The chart on a real API server: it installs, its policies refuse, its accounts may do what they need and no more.

It has an API server of its own, because policies and cluster roles are everybody's, and no nodes: no pod runs.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace_local import binaries, ports
from headrace_local.controlplane import ControlPlane

CHART = Path(__file__).resolve().parents[2] / "charts" / "headrace"
SCRIPTS = Path(sys.executable).parent
NAMESPACE = "headrace-system"
TEAM = "team-a"
IN_FORCE_SECONDS = 120.0

Object = dict[str, Any]

TRAINING_JOB: Object = {
    "apiVersion": "headrace.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "text-generator", "namespace": TEAM},
    "spec": {
        "source": {"configMap": {"name": "text-generator"}},
        "entrypoint": "train.py",
        "parameters": {"epochs": 10},
        "prepare": {
            "type": "Script",
            "entrypoint": "prepare.py",
            "parameters": {"vocabulary": 10},
            "output": {"name": "corpus"},
        },
        "evaluate": {"task": "Script", "entrypoint": "evaluate.py", "parameters": {"rows": 10}},
        "tracking": {"experiment": "text"},
        "output": {"model": "text"},
        "storage": {"secretRef": {"name": "headrace-storage"}},
        "podTemplate": {"spec": {"nodeSelector": {"pool": "gpu"}}},
    },
}


@dataclass
class Cluster:
    plane: ControlPlane
    before_gateway_api: str = field(default="")

    def kubectl(self, *arguments: str | Path, user: Path | None = None, stdin: Object | None = None) -> tuple[int, str]:
        command: list[str | Path] = [self.plane.kubectl, "--kubeconfig", user or self.plane.kubeconfig, *arguments]
        text = None if stdin is None else json.dumps(stdin)
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def helm(self, *arguments: str) -> tuple[int, str]:
        command: list[str | Path] = [
            SCRIPTS / "helm",
            "--kubeconfig",
            self.plane.kubeconfig,
            "--namespace",
            NAMESPACE,
            *arguments,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        return done.returncode, done.stdout + done.stderr

    def release(self, *arguments: str) -> None:
        code, output = self.helm("upgrade", "--install", "headrace", str(CHART), *arguments)
        assert code == 0, output

    def get(self, *arguments: str) -> Object:
        code, output = self.kubectl("get", *arguments, "--output=json")
        assert code == 0, output
        found: Object = json.loads(output)
        return found

    def passwords(self) -> dict[str, dict[str, str]]:
        """Everything in the release's Secrets."""
        secrets = {
            name: self.get("secret", name, "-n", NAMESPACE)["data"]
            for name in ("headrace-mlflow", "headrace-s3", "headrace-s3-viewer")
        }
        return {
            name: {key: base64.b64decode(value).decode() for key, value in data.items()}
            for name, data in secrets.items()
        }

    def may(self, account: str, verb: str, resource: str, namespace: str = TEAM) -> bool:
        """What the API server answers about a service account of the release."""
        user = f"system:serviceaccount:{NAMESPACE}:{account}"
        code, output = self.kubectl("auth", "can-i", verb, resource, f"--as={user}", f"--namespace={namespace}")
        assert output.split()[0] in {"yes", "no"}, output
        return code == 0

    def refusal(self, manifest: Object, user: Path | None = None) -> str:
        code, output = self.kubectl("create", "--dry-run=server", "-f", "-", user=user, stdin=manifest)
        assert code != 0, f"accepted: {json.dumps(manifest)}"
        return output


def job(*, name: str = "text-generator", pod: Object | None = None, **spec: Any) -> Object:
    manifest = deepcopy(TRAINING_JOB)
    manifest["metadata"]["name"] = name
    manifest["spec"] |= spec
    if pod is not None:
        manifest["spec"]["podTemplate"] = {"spec": pod}
    return manifest


def eventually(happened: Callable[[], bool], seconds: float = IN_FORCE_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the Gateway API and the release, whose policies are in force."""
    with ControlPlane.start(tmp_path_factory.mktemp("chart"), controller_manager=True) as plane:
        cluster = Cluster(plane)
        for namespace in (NAMESPACE, TEAM, "team-b"):
            code, output = cluster.kubectl("create", "namespace", namespace)
            assert code == 0, output
        _, cluster.before_gateway_api = cluster.helm("install", "headrace", str(CHART))
        code, output = cluster.kubectl("apply", "--server-side", "-f", binaries.ensure().gateway_api)
        assert code == 0, output
        cluster.release()
        refused = job(name="probe", pod={"serviceAccount": "other"})
        assert eventually(lambda: cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=refused)[0] != 0)
        yield cluster


@pytest.fixture(scope="module")
def trainer(cluster: Cluster) -> Path:
    """Somebody who may write our resources and nothing else."""
    rules = ["--verb=create,get,update,patch", "--resource=trainingjobs.headrace.dev,modelservices.headrace.dev"]
    cluster.kubectl("create", "role", "jobs-only", "-n", TEAM, *rules)
    cluster.kubectl("create", "rolebinding", "jobs-only", "-n", TEAM, "--role=jobs-only", "--user=trainer")
    return cluster.plane.kubeconfig_for("trainer")


@pytest.fixture(scope="module")
def editor(cluster: Cluster) -> Path:
    """Somebody with the cluster's own role `edit`."""
    cluster.kubectl("create", "rolebinding", "editor", "-n", TEAM, "--clusterrole=edit", "--user=editor")
    user = cluster.plane.kubeconfig_for("editor")
    question = ("auth", "can-i", "create", "trainingjobs.headrace.dev", "-n", TEAM)
    assert eventually(lambda: cluster.kubectl(*question, user=user)[0] == 0), "edit was not extended"
    return user


def test_without_the_gateway_api_the_installation_says_what_to_do(cluster: Cluster) -> None:
    assert "install its standard CRDs" in cluster.before_gateway_api
    assert "gateway.enabled=false" in cluster.before_gateway_api


def test_every_hook_and_test_object_is_accepted_too(cluster: Cluster) -> None:
    _, hooks = cluster.helm("get", "hooks", "headrace")
    command: list[str | Path] = [
        cluster.plane.kubectl,
        "--kubeconfig",
        cluster.plane.kubeconfig,
        "apply",
        "--dry-run=server",
        "-f",
        "-",
    ]
    done = subprocess.run(command, input=hooks, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "job.batch/headrace-release-pods" in done.stdout
    assert "pod/headrace-test" in done.stdout


def test_cluster_finds_no_mistake_in_the_policies(cluster: Cluster) -> None:
    ours = ("validatingadmissionpolicies", "--selector=app.kubernetes.io/name=headrace")

    def checked() -> bool:
        return all(policy.get("status", {}).get("observedGeneration") for policy in cluster.get(*ours)["items"])

    assert eventually(checked)
    findings = {item["metadata"]["name"]: item["status"]["typeChecking"] for item in cluster.get(*ours)["items"]}
    names = ("acts", "approvals", "authors", "modelservices", "tenants", "trainingjobs")
    assert findings == {f"headrace-{name}": {} for name in names}


def test_every_pod_of_the_release_meets_the_restricted_standard(cluster: Cluster) -> None:
    label = "pod-security.kubernetes.io/enforce"
    cluster.kubectl("label", "--overwrite", "namespace", NAMESPACE, f"{label}=restricted")
    try:
        deployments = cluster.get("deployments", "-n", NAMESPACE)["items"]
        templates = {item["metadata"]["name"]: item["spec"]["template"]["spec"] for item in deployments}
        assert set(templates) == {f"headrace-{name}" for name in ("operator", "mlflow", "s3", "gateway")}
        for name, spec in templates.items():
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
            code, output = cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=pod)
            assert code == 0, output
    finally:
        cluster.kubectl("label", "namespace", NAMESPACE, f"{label}-")


REACHES_FOR_THE_NODE: list[tuple[Object, str]] = [
    ({"serviceAccount": "admin"}, "use spec.serviceAccountName"),
    ({"ephemeralContainers": [{"name": "shell"}]}, "cannot start with ephemeral containers"),
    ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, "hostProcess"),
    ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "cannot be Unconfined"),
    ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "sysctls"),
    (
        {"containers": [{"name": "trainer", "securityContext": {"appArmorProfile": {"type": "Unconfined"}}}]},
        "cannot be Unconfined",
    ),
    (
        {"initContainers": [{"name": "x", "securityContext": {"windowsOptions": {"hostProcess": True}}}]},
        "hostProcess",
    ),
    ({"hostNetwork": True}, "node's network"),
    ({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, "cannot mount a folder of its node"),
    ({"containers": [{"name": "trainer", "securityContext": {"privileged": True}}]}, "cannot be privileged"),
]


@pytest.mark.parametrize(("pod", "words"), REACHES_FOR_THE_NODE)
def test_pod_template_that_reaches_for_the_node_is_refused(pod: Object, words: str, cluster: Cluster) -> None:
    assert words in cluster.refusal(job(pod=pod))


@pytest.mark.parametrize(("pod", "words"), REACHES_FOR_THE_NODE)
def test_a_services_pod_template_that_reaches_for_the_node_is_refused(
    pod: Object, words: str, cluster: Cluster
) -> None:
    assert words in cluster.refusal(service({}, podTemplate={"spec": pod}))


def test_a_services_pod_template_that_comes_to_reach_for_the_node_is_refused(cluster: Cluster) -> None:
    """It may be changed, unlike a job's."""
    cluster.kubectl("create", "-f", "-", stdin=service({}, name="changes"))
    for pod, words in REACHES_FOR_THE_NODE:
        patch = json.dumps({"spec": {"podTemplate": {"spec": pod}}})
        code, output = cluster.kubectl("patch", "modelservice", "changes", "-n", TEAM, "--type=merge", "--patch", patch)
        assert code != 0, f"accepted: {pod}"
        assert words in output


def test_a_services_harmless_pod_template_is_accepted(cluster: Cluster) -> None:
    pod = {
        "imagePullSecrets": [{"name": "registry"}],
        "tolerations": [{"key": "serving", "operator": "Exists"}],
        "securityContext": {"fsGroup": 7},
        "containers": [{"name": "server", "env": [{"name": "A", "value": "b"}]}],
    }
    asked = service({}, serviceAccountName="server", podTemplate={"spec": pod})
    code, output = cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=asked)
    assert code == 0, output


def test_author_of_a_service_needs_the_rights_to_its_pods_too(cluster: Cluster, trainer: Path) -> None:
    refusal = cluster.refusal(service({}, serviceAccountName="server"), user=trainer)
    assert "may not create pods" in refusal


def test_harmless_pod_template_is_accepted(cluster: Cluster) -> None:
    pod = {
        "securityContext": {"fsGroup": 7, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "trainer", "env": [{"name": "A", "value": "b"}], "securityContext": {"runAsUser": 7}}],
        "initContainers": [{"name": "warm-up", "image": "example.com/warm-up:1"}],
    }
    code, output = cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=job(pod=pod))
    assert code == 0, output


@pytest.mark.parametrize(
    "patch",
    [
        {"podTemplate": {"spec": {"nodeSelector": {"pool": "cpu"}}}},
        {"podTemplate": {"spec": {"priorityClassName": "high"}}},
        # One field that the CRD does not declare for another: its own rule does not see it.
        {"podTemplate": {"spec": {"nodeSelector": None, "priorityClassName": "high"}}},
        {"podTemplate": None},
        {"parameters": {"epochs": 11}},
        {"prepare": {"parameters": {"vocabulary": 11}}},
        {"evaluate": {"parameters": {"rows": 11}}},
        {"parameters": {"epochs": "10"}},
        {"parameters": {"epochs": None, "batches": 10}},
    ],
)
def test_free_form_parts_of_a_training_job_cannot_be_changed(patch: Object, cluster: Cluster) -> None:
    cluster.kubectl("create", "-f", "-", stdin=job(name="fixed", suspend=True))
    change = ("patch", "trainingjob", "fixed", "-n", TEAM, "--type=merge", "--patch", json.dumps({"spec": patch}))
    code, output = cluster.kubectl(*change)
    assert code != 0, "changed"
    assert "cannot be changed" in output


def test_parameters_that_no_program_would_read_are_refused(cluster: Cluster) -> None:
    manifest = job(name="judged")
    judged = {"task": "Regression", "data": {"dataset": "corpus"}, "parameters": {"rows": 10}}
    code, output = cluster.kubectl(
        "create", "-f", "-", stdin=manifest | {"spec": manifest["spec"] | {"evaluate": judged}}
    )
    assert code != 0
    assert "only task Script runs a program of yours: leave parameters out of spec.evaluate" in output


RATE = {"name": "rate", "type": "Float", "min": "0.1", "max": "0.7", "step": "0.2"}
UNITS = {"name": "units", "type": "Int", "min": "16", "max": "128", "step": "16"}
KIND = {"name": "kind", "type": "Categorical", "values": ["relu", "tanh"]}


def tuned(parameters: Object, *space: Object, **more: Any) -> Object:
    tuning = {"objective": {"metric": "loss", "goal": "Minimize"}, "space": list(space), "maxTrials": 2} | more
    manifest = job(name="tuned")
    return manifest | {"spec": manifest["spec"] | {"tuning": tuning, "parameters": parameters}}


@pytest.mark.parametrize(
    ("manifest", "refusal"),
    [
        pytest.param(
            tuned({f"p{n}": n for n in range(63)}, RATE, UNITS), "more than 64 parameters together", id="too many"
        ),
        pytest.param(tuned({"units": 50}, UNITS), "spec.parameters.units: a starting value", id="between two steps"),
        pytest.param(tuned({"rate": 0.4}, RATE), "spec.parameters.rate: a starting value", id="between, in decimals"),
        pytest.param(tuned({"units": 8}, UNITS), "spec.parameters.units: a starting value", id="below"),
        pytest.param(tuned({"units": 144}, UNITS), "spec.parameters.units: a starting value", id="above"),
        pytest.param(tuned({"units": "32"}, UNITS), "spec.parameters.units: a starting value", id="a text"),
        pytest.param(tuned({"units": True}, UNITS), "spec.parameters.units: a starting value", id="true"),
        pytest.param(tuned({"kind": "gelu"}, UNITS, KIND), "spec.parameters.kind: a starting value", id="no value"),
        pytest.param(tuned({"units": 32}, UNITS, sampler="Grid"), "leave units out of spec.parameters", id="a grid"),
        pytest.param(tuned({f"p{n}": n for n in range(62)}, RATE, UNITS), "", id="as many as can be"),
        pytest.param(tuned({f"p{n}": n for n in range(63)} | {"units": 48}, UNITS), "", id="one of them in both"),
        pytest.param(tuned({"rate": 0.3, "units": 32, "kind": "tanh"}, RATE, UNITS, KIND), "", id="on steps"),
        pytest.param(tuned({"epochs": 3}, UNITS, KIND, sampler="Grid"), "", id="a grid and others"),
    ],
)
def test_what_no_trial_could_be_given_is_refused_with_the_job(manifest: Object, refusal: str, cluster: Cluster) -> None:
    code, output = cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=manifest)
    assert (code != 0) == bool(refusal), output
    assert refusal in output


def test_training_job_can_be_suspended_and_labelled(cluster: Cluster) -> None:
    cluster.kubectl("create", "-f", "-", stdin=job(name="pausable"))
    suspend = json.dumps({"metadata": {"labels": {"a": "b"}}, "spec": {"suspend": True}})
    code, output = cluster.kubectl("patch", "trainingjob", "pausable", "-n", TEAM, "--type=merge", "--patch", suspend)
    assert code == 0, output


def service(route: Object, *, name: str = "text", **spec: Any) -> Object:
    return {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name, "namespace": TEAM},
        "spec": spec
        | {
            "model": {"uri": f"s3://{TEAM}/text"},
            "runtime": {"name": "onnxruntime"},
            "route": {"parentRefs": [{"name": "headrace", "namespace": NAMESPACE}], **route},
        },
    }


@pytest.mark.parametrize("path", ["/", "/team-b/text/v2", f"/{TEAM}x"])
def test_a_path_of_another_namespace_is_refused(path: str, cluster: Cluster) -> None:
    """The longer path would get the other service's requests."""
    code, output = cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=service({"path": path}))

    assert code != 0
    assert f'begins with the namespace, such as "/{TEAM}/text"' in output


@pytest.mark.parametrize(
    "route",
    [{}, {"path": f"/{TEAM}"}, {"path": f"/{TEAM}/other"}, {"path": "/", "hostnames": ["text.example.com"]}],
)
def test_a_path_of_ones_own_namespace_or_hostname_is_not(route: Object, cluster: Cluster) -> None:
    code, output = cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=service(route))

    assert code == 0, output


def tenant(bucket: str) -> Object:
    """What `headrace tenant add` writes into a namespace, and the operator believes."""
    metadata = {"name": "headrace-tenant", "namespace": TEAM, "labels": {"headrace.dev/tenant": TEAM}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"bucket": bucket}}


def test_nobody_of_a_namespace_says_whose_bucket_and_mlflow_user_it_has(cluster: Cluster, editor: Path) -> None:
    said = "ask an administrator to run headrace tenant add team-a"
    assert said in cluster.refusal(tenant("team-b"), user=editor)

    code, output = cluster.kubectl("create", "-f", "-", stdin=tenant(TEAM))
    assert code == 0, output
    code, output = cluster.kubectl("replace", "-f", "-", user=editor, stdin=tenant("team-b"))
    assert code != 0
    assert said in output
    code, output = cluster.kubectl("annotate", "configmap", "headrace-tenant", "-n", TEAM, "note=mine", user=editor)
    assert code == 0, output
    code, output = cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=tenant("team-a-2"))
    assert code == 0, output
    code, output = cluster.kubectl("delete", "configmap", "headrace-tenant", "-n", TEAM, user=editor)
    assert code == 0, output
    other = tenant("team-b") | {"metadata": {"name": "headrace-tenants", "namespace": TEAM}}
    code, output = cluster.kubectl("create", "--dry-run=server", "-f", "-", user=editor, stdin=other)
    assert code == 0, output


def test_author_who_may_create_no_pods_is_refused(cluster: Cluster, trainer: Path) -> None:
    words = cluster.refusal(job(), user=trainer)
    assert 'user "trainer" may not create pods in namespace "team-a"' in words
    assert "ask for a role that allows it" in words


def test_author_who_may_not_start_pods_cannot_resume_a_job_either(cluster: Cluster, trainer: Path) -> None:
    cluster.kubectl("create", "-f", "-", stdin=job(name="paused", suspend=True))
    resume = ("patch", "trainingjob", "paused", "-n", TEAM, "--type=merge", "--patch", '{"spec":{"suspend":false}}')
    code, output = cluster.kubectl(*resume, user=trainer)
    assert code != 0
    assert "may not create pods" in output
    code, output = cluster.kubectl("label", "trainingjob", "paused", "-n", TEAM, "seen=yes", user=trainer)
    assert code == 0, output


def test_author_who_may_not_read_the_named_secret_is_refused(cluster: Cluster) -> None:
    rules = ["--verb=create", "--resource=trainingjobs.headrace.dev,pods"]
    cluster.kubectl("create", "role", "no-secrets", "-n", TEAM, *rules)
    cluster.kubectl("create", "rolebinding", "no-secrets", "-n", TEAM, "--role=no-secrets", "--user=guest")
    guest = cluster.plane.kubeconfig_for("guest")
    words = cluster.refusal(job(), user=guest)
    assert 'may not read the Secret "headrace-storage"' in words
    without = job()
    del without["spec"]["storage"]
    code, output = cluster.kubectl("create", "--dry-run=server", "-f", "-", user=guest, stdin=without)
    assert code == 0, output


def test_clusters_own_editor_may_train(cluster: Cluster, editor: Path) -> None:
    code, output = cluster.kubectl("create", "--dry-run=server", "-f", "-", user=editor, stdin=job(name="edited"))
    assert code == 0, output


def test_clusters_own_viewer_may_look_and_not_train(cluster: Cluster) -> None:
    cluster.kubectl("create", "rolebinding", "viewer", "-n", TEAM, "--clusterrole=view", "--user=viewer")
    viewer = cluster.plane.kubeconfig_for("viewer")
    assert eventually(lambda: cluster.kubectl("get", "trainingjobs", "-n", TEAM, user=viewer)[0] == 0)
    assert cluster.kubectl("auth", "can-i", "create", "trainingjobs.headrace.dev", "-n", TEAM, user=viewer)[0] != 0


def test_the_right_to_approve_comes_with_no_role_of_the_clusters_own(cluster: Cluster, editor: Path) -> None:
    cluster.kubectl("create", "rolebinding", "owner", "-n", TEAM, "--clusterrole=admin", "--user=owner")
    cluster.kubectl("create", "rolebinding", "judge", "-n", TEAM, "--clusterrole=headrace-approver", "--user=judge")
    question = ("auth", "can-i", "approve", "trainingjobs.headrace.dev")
    may = {
        user: cluster.kubectl(*question, "-n", namespace, f"--as={user}")[0] == 0
        for user, namespace in (("editor", TEAM), ("owner", TEAM), ("judge", TEAM))
    }
    assert may == {"editor": False, "owner": False, "judge": True}
    assert cluster.kubectl(*question, "-n", "team-b", "--as=judge")[0] != 0
    assert cluster.kubectl("auth", "can-i", "delete", question[-1], "-n", TEAM, "--as=judge")[0] != 0


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("watch", "trainingjobs.headrace.dev"), ("create", "jobs.batch"), ("patch", "pods")],
)
def test_operator_may(verb: str, resource: str, cluster: Cluster) -> None:
    assert cluster.may("headrace-operator", verb, resource)


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("delete", "pods"),
        ("list", "configmaps"),
        ("delete", "configmaps"),
        ("get", "nodes"),
    ],
)
def test_operator_may_not(verb: str, resource: str, cluster: Cluster) -> None:
    assert not cluster.may("headrace-operator", verb, resource)
    assert not cluster.may("headrace-operator", verb, resource, NAMESPACE)


@contextmanager
def operator(cluster: Cluster, log: Path) -> Iterator[None]:
    """The operator as the chart runs it: the Deployment's account and environment."""
    deployment = cluster.get("deployment", "headrace-operator", "-n", NAMESPACE)
    variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    environment = {item["name"]: item["value"] for item in variables if "value" in item}
    runtimes = log.with_name("runtimes.json")  # in the cluster it is mounted
    runtimes.write_text(cluster.get("configmap", "headrace-serving-runtimes", "-n", NAMESPACE)["data"]["runtimes.json"])
    environment["HEADRACE_SERVING_RUNTIMES"] = str(runtimes)
    account = f"system:serviceaccount:{NAMESPACE}:headrace-operator"
    kubeconfig = cluster.plane.kubeconfig_for(account, ["system:serviceaccounts", "system:authenticated"])
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace", "--kubeconfig", str(kubeconfig)],
            env={**os.environ, **environment, "HEADRACE_HEALTH_PORT": "0"},
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.mark.parametrize("settings", [(), ("--set", f"watchNamespaces={{{TEAM}}}")], ids=["cluster", "namespaces"])
def test_operator_starts_a_training_with_the_charts_rights(
    settings: tuple[str, ...], cluster: Cluster, tmp_path: Path
) -> None:
    name = f"trained-{len(settings)}"
    cluster.kubectl("create", "configmap", "text-generator", "-n", TEAM, "--from-literal=train.py=print(1)")
    manifest = job(name=name)
    for part in ("storage", "prepare", "evaluate", "output", "tracking"):  # this namespace is no tenant
        del manifest["spec"][part]
    cluster.release("--reset-values", *settings)
    log = tmp_path / "operator.log"
    with operator(cluster, log):
        code, output = cluster.kubectl("create", "-f", "-", stdin=manifest)
        assert code == 0, output

        def started() -> bool:
            found = cluster.get("trainingjob", name, "-n", TEAM)
            pods = cluster.get("pods", "-n", TEAM, f"--selector=headrace.dev/trainingjob={name}")["items"]
            return bool(pods) and found.get("status", {}).get("state") == "Pending"

        assert eventually(started, 90.0), log.read_text()
        code, output = cluster.kubectl("delete", "trainingjob", name, "-n", TEAM)
        assert code == 0, output
        # The finalizer is taken off by the operator; without the right to that the pod would stay.
        pods = ("pods", "-n", TEAM, f"--selector=headrace.dev/trainingjob={name}")
        assert eventually(lambda: not cluster.get(*pods)["items"], 90.0), log.read_text()
        trains_on_schedule(cluster, manifest["spec"], log)
    assert "forbidden" not in log.read_text().lower()


def trains_on_schedule(cluster: Cluster, spec: Object, log: Path) -> None:
    """From a template to a training, and away again; the operator hears of the CronJob's Job by itself."""
    template = job(name="nightly")
    template["spec"] = spec | {"schedule": {"cron": "0 0 1 1 *"}}
    code, output = cluster.kubectl("create", "-f", "-", stdin=template)
    assert code == 0, output
    now = ("create", "job", "nightly-now", "--from=cronjob/nightly", "-n", TEAM)
    assert eventually(lambda: cluster.kubectl(*now)[0] == 0, 60.0), log.read_text()

    def has_begun() -> bool:
        known = cluster.kubectl("get", "trainingjob", "nightly-now", "-n", TEAM)[0] == 0
        return known and "startTime" in cluster.get("job", "nightly-now", "-n", TEAM).get("status", {})

    assert eventually(has_begun, 60.0), log.read_text()
    cluster.kubectl("delete", "trainingjob", "nightly", "-n", TEAM)
    gone = ("get", "trainingjob,cronjob,job", "-n", TEAM, "--selector=headrace.dev/schedule=nightly", "--output=name")
    assert eventually(lambda: cluster.kubectl(*gone)[1].strip() in ("", "No resources found"), 60.0), log.read_text()


def test_traefik_takes_its_gateway_with_the_charts_rights_and_flags(cluster: Cluster, tmp_path: Path) -> None:
    deployment = cluster.get("deployment", "headrace-gateway", "-n", NAMESPACE)
    flags = deployment["spec"]["template"]["spec"]["containers"][0]["command"][1:]
    (metrics,) = ports.free(1)
    # The flags of the chart; only the addresses are loopback's here.
    flags = [flag.replace("metrics.address=:9100", f"metrics.address=127.0.0.1:{metrics}") for flag in flags]
    flags = [flag.replace("web.address=:", "web.address=127.0.0.1:") for flag in flags]
    account = f"system:serviceaccount:{NAMESPACE}:headrace-gateway"
    kubeconfig = cluster.plane.kubeconfig_for(account, ["system:serviceaccounts", "system:authenticated"])
    log = tmp_path / "traefik.log"
    with log.open("w") as output:
        traefik = subprocess.Popen(
            [SCRIPTS / "traefik", *flags],
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            stdout=output,
            stderr=output,
            process_group=0,
        )
    try:

        def accepted() -> bool:
            gateway = cluster.get("gateway", "headrace", "-n", NAMESPACE)
            return {"Accepted": "True", "Programmed": "True"}.items() <= {
                condition["type"]: condition["status"] for condition in gateway.get("status", {}).get("conditions", [])
            }.items()

        assert eventually(accepted), log.read_text()
        assert "forbidden" not in log.read_text()
    finally:
        traefik.terminate()
        traefik.wait(timeout=60)


def test_upgrade_keeps_the_generated_passwords(cluster: Cluster) -> None:
    before = cluster.passwords()
    cluster.release("--set", "operator.replicas=2")
    assert cluster.get("deployment", "headrace-operator", "-n", NAMESPACE)["spec"]["replicas"] == 2
    assert cluster.passwords() == before
    cluster.release("--reset-values")


def test_named_namespaces_end_the_rights_to_all_others(cluster: Cluster) -> None:
    cluster.release("--set", f"watchNamespaces={{{TEAM}}}")
    try:
        assert cluster.may("headrace-operator", "create", "jobs.batch", TEAM)
        assert not cluster.may("headrace-operator", "create", "jobs.batch", "team-b")
        assert not cluster.may("headrace-operator", "list", "trainingjobs.headrace.dev", "team-b")
        assert cluster.may("headrace-gateway", "list", "secrets", TEAM)
        assert not cluster.may("headrace-gateway", "list", "secrets", "team-b")
    finally:
        cluster.release("--reset-values")


def test_uninstall_leaves_what_belongs_together_and_a_reinstallation_finds_it(cluster: Cluster) -> None:
    before = cluster.passwords()
    cluster.kubectl("create", "-f", "-", stdin=job(name="survivor", suspend=True))
    # No node, so the hook's pod cannot run: helm gives up waiting for it, after all else is gone.
    _, output = cluster.helm("uninstall", "headrace", "--timeout", "5s")
    assert "timed out" in output
    assert cluster.may("headrace-release-pods", "patch", "pods")
    assert not cluster.may("headrace-release-pods", "delete", "pods")
    assert not cluster.may("headrace-operator", "list", "trainingjobs.headrace.dev")
    cluster.kubectl("delete", "job", "headrace-release-pods", "-n", NAMESPACE)
    assert cluster.get("trainingjob", "survivor", "-n", TEAM)["spec"]["suspend"] is True
    claims = cluster.get("pvc", "-n", NAMESPACE)["items"]
    assert {claim["metadata"]["name"] for claim in claims} == {"headrace-mlflow", "headrace-s3"}
    assert cluster.passwords() == before
    cluster.release()
    assert cluster.passwords() == before
