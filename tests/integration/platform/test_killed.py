"""An operator killed after any of its writes, whichever server they went to: API server and MLflow count together.

What controllers, kubelets and the launcher do is played, so that each operator writes the same in the same order. Only
the servers outlive a kill: one after write k arrived, before its answer is used, is also the one before write k + 1.

Every run has a kill between any two kinds of writes that follow each other; `scripts/test thorough` has all of them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

import thorough
from crds import established
from faults import Killed, moments
from headrace import inflight
from headrace.kube.client import KubeClient
from headrace.kube.keys import Key
from headrace.kube.ownership import controller_reference
from headrace.kube.resources import (
    CONFIGMAPS,
    CONTROLLERREVISIONS,
    CRONJOBS,
    DEPLOYMENTS,
    EVENTS,
    HTTPROUTES,
    JOBS,
    MODELSERVICES,
    NAMESPACES,
    NETWORKPOLICIES,
    PDBS,
    PODS,
    SERVICES,
    TRAININGJOBS,
    Object,
    Resource,
)
from headrace.labels import ACT, ACT_AT, ACT_BY, ACT_VERSION, APPROVAL, APPROVAL_BY, APPROVAL_REASON
from headrace.serving.owners import PromotionOwners
from headrace.serving.reconcile import ServingReconciler
from headrace.serving.target import ACCEPT_ANNOTATION, SIGNATURE_DIFFERS
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import AlreadyExists
from headrace.tracking.ledger import Ledger, model_name
from headrace.tracking.records import (
    APPROVAL_AT_TAG,
    APPROVAL_BY_TAG,
    APPROVAL_REASON_TAG,
    APPROVAL_TAG,
    DIFFERENCE_TAG,
    PROMOTION_TAG_PREFIX,
    ROLLOUT_TAG,
)
from headrace.training.reconcile import TrainingReconciler
from headrace_common.tags import BASELINE_DIGEST_TAG, DIGEST_TAG, EVALUATED_DIGEST_TAG, SIGNATURE_TAG, UID_TAG
from headrace_local import binaries
from headrace_local.controlplane import ControlPlane
from runtime_builders import runtimes
from serving_builders import gateway_answer, signature
from training_builders import SETTINGS, stamp

from .conftest import ADMIN

REPOSITORY = Path(__file__).resolve().parents[3]
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
NAME = "text"
TENANT = {"bucket": "team-a", "mlflowUser": "headrace.team-a"}
IMAGES = replace(SETTINGS, loader_image="headrace/loader:1", runtimes=runtimes("headrace/o:1"))
DIGEST = "sha256:" + "ab" * 32
AT_ONCE = 8
PASSES = 30

Status = dict[str, Any]


# --- an operator that lives for so many writes -----------------------------------------------------------------------


@dataclass
class Life:
    """`die_after` 0: killed before its first write; None: never. `written` is what arrived, at either server.

    Nothing is written after its end, by what it had begun beside its passes either.
    """

    die_after: int | None = None
    written: list[str] = field(default_factory=list)

    def before(self, write: str) -> None:
        if len(self.written) == self.die_after:
            raise Killed(f"before {write}")

    def after(self, write: str) -> None:
        self.written.append(write)
        if len(self.written) == self.die_after:
            raise Killed(f"after {write}")


class DyingKube(KubeClient):
    """What is applied anew and changes nothing does not count: to be killed after it is to be killed before it."""

    def __init__(self, client: KubeClient, life: Life) -> None:
        super().__init__(client.credentials, client._http)
        self.life = life
        self.versions: dict[str, str | None] = {}

    async def request(self, method: str, path: str, **rest: Any) -> bytes:
        if method == "GET":
            return await super().request(method, path, **rest)
        self.life.before(f"{method} {path}")
        answer = await super().request(method, path, **rest)
        before, version = self.versions.get(path), json.loads(answer)["metadata"].get("resourceVersion")
        self.versions[path] = version
        if version is None or version != before:
            self.life.after(f"{method} {path}")
        return answer


class DyingMlflow(MlflowClient):
    def __init__(self, client: MlflowClient, life: Life) -> None:
        super().__init__(client.url, *ADMIN, client._session)
        self.life = life

    async def _call(self, method: str, path: str, what: str, **rest: Any) -> dict[str, Any]:
        if method == "GET" or path.endswith("/search"):
            return await super()._call(method, path, what, **rest)
        body = rest.get("body") or {}
        write = " ".join([method, path, *(body[part] for part in ("alias", "version") if part in body)])
        self.life.before(write)
        answer = await super()._call(method, path, what, **rest)
        self.life.after(write)
        return answer


class Servers(NamedTuple):
    """What outlives the operator."""

    kube: KubeClient
    mlflow: MlflowClient


class Way:
    """An object on its way to its end, alone in its namespace: an operator is killed, and another one goes on."""

    resource: Resource
    reconciler: Any  # made anew for each life, with an empty memory
    play: Callable[[], Awaitable[None]]  # what others than the operator do next

    def __init__(self, servers: Servers, namespace: str, die_after: int | None) -> None:
        self.kube, self.mlflow = servers
        self.namespace = namespace
        self.model = model_name(namespace, NAME)
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.lives: list[Life] = []
        self.begin(Life(die_after))

    def begin(self, life: Life) -> None:
        self.lives.append(life)
        kube, mlflow = DyingKube(self.kube, life), DyingMlflow(self.mlflow, life)
        ledger, http = Ledger(mlflow, PromotionOwners(kube).has), self.mlflow._session
        settings = replace(IMAGES, namespaces=(self.namespace,), operator_namespace=self.namespace)
        if self.resource == TRAININGJOBS:
            self.reconciler = TrainingReconciler(kube, http, settings, ledger, lambda: self.now)
        else:
            self.reconciler = ServingReconciler(kube, http, settings, ledger, mlflow, lambda: self.now)

    async def create(self, spec: Object) -> str:
        """The uid of the object with this spec."""
        await self.kube.create(NAMESPACES, {"metadata": {"name": self.namespace}})
        await self.kube.create(SERVICE_ACCOUNTS, {"metadata": self.metadata("default")})
        for name, data in (("code", {"train.py": "print()"}), ("headrace-tenant", TENANT)):
            await self.kube.create(CONFIGMAPS, {"metadata": self.metadata(name), "data": data})
        made = await self.kube.create(self.resource, {"metadata": self.metadata(NAME), "spec": spec})
        return str(made["metadata"]["uid"])

    async def look(self) -> Status:
        """One pass, or what of it the operator lives to do; then the others have their turn."""
        self.now += timedelta(seconds=15)
        try:
            await self.reconciler.reconcile(Key(self.resource, self.namespace, NAME))
        except Killed:
            self.begin(Life())
        await self.play()
        live = await self.kube.get(self.resource, self.namespace, NAME)
        return (live or {}).get("status") or {}

    async def until(self, is_there: Callable[[Status], bool]) -> None:
        for _ in range(PASSES):
            if is_there(status := await self.look()):
                return
        raise AssertionError(f"{self.tale()}: not after {PASSES} passes: {status}")

    async def make_pod(self, owner: Object, name: str, status: Status, **metadata: Any) -> None:
        """A pod of the owner's template, as its controller makes it, without a node."""
        template = owner["spec"]["template"]
        meta = {**template["metadata"], **metadata, **self.metadata(name)}
        await self.kube.create(PODS, {**template, "metadata": meta})
        await self.kube.merge_patch(PODS, self.namespace, name, {"status": status}, "status")

    def metadata(self, name: str) -> Object:
        return {"name": name, "namespace": self.namespace}

    async def owned(self, *kinds: Resource) -> dict[tuple[str, str], str]:
        """What there is of these kinds, by kind and name, and the uid of each one's owner."""
        return {
            (kind.kind, found["metadata"]["name"]): found["metadata"].get("ownerReferences", [{"uid": ""}])[0]["uid"]
            for kind in kinds
            for found in await self.kube.list(kind, self.namespace)
        }

    def writes(self) -> list[str]:
        return [write for life in self.lives for write in life.written]

    def tale(self) -> str:
        return f"{self.namespace}: {len(self.lives)} lives, the first until {self.lives[0].written[-1:]}"


# --- a TrainingJob ---------------------------------------------------------------------------------------------------


class Training(Way):
    resource = TRAININGJOBS

    async def play(self) -> None:
        for number in (1, 2):
            await self.play_attempt(f"{NAME}-{number}")

    async def play_attempt(self, name: str) -> None:
        """The Job's pod runs; by the next pass it has done its work, and the Job is complete."""
        job, pod = await self.kube.get(JOBS, self.namespace, name), await self.kube.get(PODS, self.namespace, name)
        container: Object = {"name": "trainer", "image": "i", "imageID": "i@sha256:1", "restartCount": 0}
        if job is not None and pod is None:
            statuses = [container | {"ready": True, "state": {"running": {}}}]
            metadata = {
                "annotations": {"batch.kubernetes.io/job-completion-index": "0"},
                "ownerReferences": [controller_reference(JOBS, name, job["metadata"]["uid"])],
            }
            await self.make_pod(job, name, {"phase": "Running", "containerStatuses": statuses}, **metadata)
        elif job is not None and pod is not None and pod["status"]["phase"] == "Running":
            at, record = stamp(self.now), json.dumps(await self.work(job))
            end = {"exitCode": 0, "reason": "Completed", "message": record, "finishedAt": at}
            statuses = [container | {"ready": False, "state": {"terminated": end}}]
            trained = {"status": {"phase": "Succeeded", "containerStatuses": statuses}}
            await self.kube.merge_patch(PODS, self.namespace, name, trained, "status")
            met = [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]
            over = {"startTime": at, "completionTime": at, "succeeded": 1, "completedIndexes": "0", "conditions": met}
            await self.kube.merge_patch(JOBS, self.namespace, name, {"status": over}, "status")

    async def work(self, job: Object) -> Object:
        """The launcher: makes a run in the experiment that the Job names; its record."""
        env = {entry["name"]: entry["value"] for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        config = json.loads(env["HEADRACE_CONFIG"])
        uid, judges = config["job"]["uid"], config.get("evaluate")
        if judges is None:
            tags = {UID_TAG: uid, DIGEST_TAG: DIGEST, SIGNATURE_TAG: signature(4)}
            metrics = {"val_accuracy": 0.9}
        else:
            digests = {
                EVALUATED_DIGEST_TAG: judges["model"]["digest"],
                BASELINE_DIGEST_TAG: judges["baseline"]["digest"],
            }
            tags, metrics = {UID_TAG: f"{uid}/evaluate", **digests}, {"accuracy": 0.9, "worse_by/accuracy": 0.01}
        pairs = [{"key": key, "value": value} for key, value in tags.items()]
        asked = {"experiment_id": config["tracking"]["experimentId"], "tags": pairs, "start_time": 1}
        run = (await self.mlflow._call("POST", "2.0/mlflow/runs/create", "a run", body=asked))["run"]["info"]
        for key, value in metrics.items():
            metric = {"run_id": run["run_id"], "key": key, "value": value, "timestamp": 1}
            await self.mlflow._call("POST", "2.0/mlflow/runs/log-metric", "a metric", body=metric)
        record = {
            "protocol": 1,
            "outcome": "Succeeded",
            "time": int(self.now.timestamp() * 1000),
            "run": {"id": run["run_id"], "experimentId": run["experiment_id"]},
        }
        if judges is None:
            model = {"uri": f"{run['artifact_uri']}/model", "digest": DIGEST, "formats": ["ONNX"]}
            return record | {"model": model}
        baseline = judges["baseline"]["digest"]
        return record | {"evaluation": {"digest": DIGEST, "baselineDigest": baseline, "samples": 10}}


async def train_and_register(servers: Servers, namespace: str, die_after: int | None) -> Way:
    way, mlflow = Training(servers, namespace, die_after), servers.mlflow
    spec = {
        "source": {"configMap": {"name": "code"}},
        "entrypoint": "train.py",
        "tracking": {"experiment": NAME},
        "evaluation": {"gates": [{"metric": "val_accuracy", "min": "0.5"}]},
        "output": {"model": NAME, "alias": "candidate"},
    }
    uid = await way.create(spec)
    await way.until(lambda status: status.get("state") in ("Succeeded", "Failed"))
    status, tale = await way.look(), way.tale()

    ended = (status["state"], status["reason"], status["attempt"]["number"], status["model"]["version"])
    assert ended == ("Succeeded", "GatePassed", 1, "1"), tale
    assert [(entry["attempt"], entry["outcome"]) for entry in status["history"]] == [(1, "Succeeded")], tale
    runs = await mlflow.search_runs(status["run"]["experimentID"], UID_TAG, uid)
    assert [run.id for run in runs] == [status["run"]["id"]], tale
    versions = await mlflow.search_model_versions(way.model, UID_TAG, uid)
    assert [(version.version, version.digest) for version in versions] == [("1", DIGEST)], tale
    assert versions[0].tags[SIGNATURE_TAG] == signature(4), tale
    assert (await mlflow.get_registered_model(way.model)).aliases == {"candidate": "1"}, tale
    acts = ("experiments/create", "registered-models/create", "model-versions/create", "alias candidate 1", "/jobs")
    made = {act: sum(write.startswith("POST") and write.endswith(act) for write in way.writes()) for act in acts}
    assert made == dict.fromkeys(acts, 1), tale
    assert await way.owned(JOBS, SERVICES, CONFIGMAPS, NETWORKPOLICIES) == {
        ("Job", f"{NAME}-1"): uid,
        ("Service", f"{NAME}-1"): uid,
        ("ConfigMap", f"{NAME}-source"): uid,
        ("NetworkPolicy", NAME): uid,
        ("ConfigMap", "code"): "",
        ("ConfigMap", "headrace-tenant"): "",
        ("ConfigMap", "headrace-open-runs"): "",
    }, tale
    pods = await way.kube.list(PODS, namespace)
    assert [pod["metadata"].get("finalizers", []) for pod in pods] == [[]], tale
    return way


async def evaluate_and_register(servers: Servers, namespace: str, die_after: int | None) -> Way:
    """With a stage after the training, which compares with the version that is served."""
    way, mlflow = Training(servers, namespace, die_after), servers.mlflow
    await Ledger(mlflow).ensure_model(namespace, NAME, "")
    served = f"sha256:{1:064d}"
    await mlflow.create_model_version(way.model, "s3://team-a/1", "", {DIGEST_TAG: served})
    await mlflow.set_alias(way.model, "champion", "1")
    spec = {
        "source": {"configMap": {"name": "code"}},
        "entrypoint": "train.py",
        "datasets": [{"name": "heldout", "uri": "s3://team-a/heldout/"}],
        "tracking": {"experiment": NAME},
        "output": {"model": NAME, "alias": "candidate"},
        "evaluate": {
            "task": "Classification",
            "data": {"dataset": "heldout"},
            "baseline": {"alias": "champion"},
            "gates": [{"metric": "accuracy", "min": "0.5", "maxRegression": "0.02"}],
        },
    }
    uid = await way.create(spec)
    await way.until(lambda status: status.get("state") in ("Succeeded", "Failed"))
    status, tale = await way.look(), way.tale()

    ended = (status["state"], status["reason"], status["attempt"]["number"], status["model"]["version"])
    assert ended == ("Succeeded", "GatePassed", 2, "2"), tale
    assert [(entry["stage"], entry["outcome"]) for entry in status["history"]] == [
        ("Train", "Succeeded"),
        ("Evaluate", "Succeeded"),
    ], tale
    assert status["evaluation"]["baseline"]["digest"] == served, tale
    assert status["evaluation"]["samples"] == 10, tale
    compared = {one["type"]: one["reason"] for one in status["conditions"]}["BaselineCompared"]
    assert compared == "Compared", tale
    for of in (uid, f"{uid}/evaluate"):
        assert len(await mlflow.search_runs(status["run"]["experimentID"], UID_TAG, of)) == 1, tale
    [version] = await mlflow.search_model_versions(way.model, UID_TAG, uid)
    assert (version.version, version.digest, version.tags["headrace.baseline.version"]) == ("2", DIGEST, "1"), tale
    assert (await mlflow.get_registered_model(way.model)).aliases == {"candidate": "2", "champion": "1"}, tale
    acts = ("model-versions/create", "alias candidate 2", "/jobs")
    made = {act: sum(write.startswith("POST") and write.endswith(act) for write in way.writes()) for act in acts}
    assert made == {"model-versions/create": 1, "alias candidate 2": 1, "/jobs": 2}, tale
    pods = await way.kube.list(PODS, namespace)
    assert [pod["metadata"].get("finalizers", []) for pod in pods] == [[], []], tale
    return way


# --- a version that a person approves --------------------------------------------------------------------------------


class Approving(Way):
    """From the end of the training on: what is before is `Training`."""

    resource = TRAININGJOBS

    async def play(self) -> None:
        """A person approves what waits, and changes their mind once that was noticed."""
        live = await self.kube.get(TRAININGJOBS, self.namespace, NAME)
        assert live is not None
        state = (live["status"]["model"].get("approval") or {}).get("state")
        decision = {"Awaiting": "Approved", "Approved": "Refused"}.get(state)
        is_decided = state == "Awaiting" and APPROVAL in live["metadata"].get("annotations", {})
        if decision is not None and not is_decided:
            marks = {APPROVAL: decision, APPROVAL_BY: "alice", APPROVAL_REASON: "seen"}
            await self.kube.merge_patch(TRAININGJOBS, self.namespace, NAME, {"metadata": {"annotations": marks}})

    async def train(self, uid: str) -> None:
        """The launcher, and the operator up to here; somebody has decided before there was a version."""
        experiment = await Ledger(self.mlflow).ensure_experiment(self.namespace, NAME, "team-a", "")
        tags = [{"key": UID_TAG, "value": uid}, {"key": DIGEST_TAG, "value": DIGEST}]
        asked = {"experiment_id": experiment.id, "tags": tags, "start_time": 1}
        run = (await self.mlflow._call("POST", "2.0/mlflow/runs/create", "a run", body=asked))["run"]["info"]
        model = {"name": self.model, "uri": f"{run['artifact_uri']}/model", "digest": DIGEST}
        status = {"state": "Finishing", "model": model, "run": {"id": run["run_id"], "experimentID": experiment.id}}
        await self.kube.merge_patch(TRAININGJOBS, self.namespace, NAME, {"status": status}, "status")
        early = {"metadata": {"annotations": {APPROVAL: "Refused", APPROVAL_BY: "eve"}}}
        await self.kube.merge_patch(TRAININGJOBS, self.namespace, NAME, early)


async def approve_and_point(servers: Servers, namespace: str, die_after: int | None) -> Way:
    way, mlflow = Approving(servers, namespace, die_after), servers.mlflow
    await Ledger(mlflow).ensure_model(namespace, NAME, "")
    await mlflow.create_model_version(way.model, "s3://team-a/1", "", {DIGEST_TAG: "sha256:1"})
    await mlflow.set_alias(way.model, "candidate", "1")
    spec = {
        "source": {"configMap": {"name": "code"}},
        "entrypoint": "train.py",
        "tracking": {"experiment": NAME},
        "output": {"model": NAME, "alias": "candidate", "approval": {"required": True}},
    }
    uid = await way.create(spec)
    await way.train(uid)
    await way.until(lambda status: bool((status["model"].get("approval") or {}).get("recorded")))
    status, tale = await way.look(), way.tale()

    approval = status["model"]["approval"]
    assert (status["state"], status["reason"], status["model"]["version"]) == ("Succeeded", "Approved", "2"), tale
    assert (approval["state"], approval["by"], approval["reason"]) == ("Approved", "alice", "seen"), tale
    versions = await mlflow.search_model_versions(way.model, UID_TAG, uid)
    assert [version.version for version in versions] == ["2"], tale
    [version], at = versions, approval["at"]
    told = {name: value for name, value in version.tags.items() if name.startswith(APPROVAL_TAG)}
    decision = {APPROVAL_TAG: "Approved", APPROVAL_BY_TAG: "alice", APPROVAL_AT_TAG: at, APPROVAL_REASON_TAG: "seen"}
    assert told == decision, tale
    assert version.description == f"Approved by alice at {at}: seen", tale
    assert (await mlflow.get_registered_model(way.model)).aliases == {"candidate": "2"}, tale
    assert [write[-1] for write in way.writes() if "registered-models/alias candidate" in write] == ["2"], tale
    return way


# --- a TrainingJob with a schedule -----------------------------------------------------------------------------------


class Scheduling(Way):
    """From the template to the end of a training: what that does in between is `Training`."""

    resource = TRAININGJOBS
    training = f"{NAME}-29745123"

    async def play(self) -> None:
        """The CronJob controller makes a Job; its training ends once the Job knows that it has begun."""
        cron_job = await self.kube.get(CRONJOBS, self.namespace, NAME)
        job = await self.kube.get(JOBS, self.namespace, self.training)
        if cron_job is not None and job is None:
            template = cron_job["spec"]["jobTemplate"]
            owner = [controller_reference(CRONJOBS, NAME, cron_job["metadata"]["uid"])]
            metadata = self.metadata(self.training) | template["metadata"] | {"ownerReferences": owner}
            await self.kube.create(JOBS, {"metadata": metadata, "spec": template["spec"]})
        live = await self.kube.get(TRAININGJOBS, self.namespace, self.training)
        begun = job is not None and "startTime" in job["status"]
        if live is not None and begun and "status" not in live:
            status = {"state": "Succeeded", "reason": "GatePassed", "message": "passed"}
            status |= {"completionTime": stamp(self.now), "columns": {"model": f"{NAME}/1"}}
            await self.kube.merge_patch(TRAININGJOBS, self.namespace, self.training, {"status": status}, "status")


async def schedule_and_train(servers: Servers, namespace: str, die_after: int | None) -> Way:
    way = Scheduling(servers, namespace, die_after)
    source = {"configMap": {"name": "code"}}
    uid = await way.create({"source": source, "entrypoint": "train.py", "schedule": {"cron": "0 3 * * *"}})
    await way.until(lambda status: "last" in status.get("schedule", {}))
    status, tale = await way.look(), way.tale()

    assert (status["state"], status["reason"]) == ("Scheduled", "WaitingForSchedule"), tale
    last = status["schedule"]["last"]
    assert (last["name"], last["state"], last["model"]) == (way.training, "Succeeded", f"{NAME}/1"), tale
    assert status["schedule"]["active"] == [], tale
    job = await way.kube.get(JOBS, namespace, way.training)
    assert job is not None, tale
    kinds = [(one["type"], one["reason"]) for one in job["status"]["conditions"]]
    assert kinds == [("SuccessCriteriaMet", "GatePassed"), ("Complete", "GatePassed")], tale
    owned = await way.owned(CRONJOBS, JOBS, TRAININGJOBS)
    cron_job = await way.kube.get(CRONJOBS, namespace, NAME)
    assert cron_job is not None, tale
    assert owned == {
        ("CronJob", NAME): uid,
        ("Job", way.training): cron_job["metadata"]["uid"],
        ("TrainingJob", way.training): job["metadata"]["uid"],
        ("TrainingJob", NAME): "",
    }, tale
    assert sum(write.startswith("POST") and write.endswith("/trainingjobs") for write in way.writes()) == 1, tale
    return way


# --- a ModelService --------------------------------------------------------------------------------------------------


class Serving(Way):
    resource = MODELSERVICES

    async def play(self) -> None:
        """Each Deployment gets its pod, which is ready; the pods of those that are gone go. The route is accepted."""
        wanted = {found["metadata"]["name"]: found for found in await self.kube.list(DEPLOYMENTS, self.namespace)}
        pods = {found["metadata"]["name"]: found for found in await self.kube.list(PODS, self.namespace)}
        for name in pods.keys() - wanted.keys():
            await self.kube.delete(PODS, self.namespace, name, uid=pods[name]["metadata"]["uid"])
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(self.now)}
        for name in wanted.keys() - pods.keys():
            await self.make_pod(wanted[name], name, {"phase": "Running", "conditions": [ready]})
        for route in await self.kube.list(HTTPROUTES, self.namespace):
            status = {"status": gateway_answer(route)}
            await self.kube.merge_patch(HTTPROUTES, self.namespace, route["metadata"]["name"], status, "status")


def serves(version: str) -> Callable[[Status], bool]:
    """The version is stable, and the registry was told all."""

    def is_told(status: Status) -> bool:
        model, promotion = (status.get("stable") or {}).get("model"), status.get("promotion") or {}
        told = promotion.get("expectedVersion") == version and not promotion.get("pendingVersion")
        return bool(model and model["version"] == version and told and not status.get("pendingOutcomes"))

    return is_told


async def roll_out_and_promote(servers: Servers, namespace: str, die_after: int | None) -> Way:
    way, mlflow = Serving(servers, namespace, die_after), servers.mlflow
    await Ledger(mlflow).ensure_model(namespace, NAME, "")
    for version in (1, 2):
        tags = {DIGEST_TAG: f"sha256:{version:064d}"}
        await mlflow.create_model_version(way.model, f"s3://team-a/{version}", "", tags)
    await mlflow.set_alias(way.model, "candidate", "1")
    steps = [{"weight": 20, "hold": "10s"}, {"weight": 60, "hold": "10s"}]
    spec = {
        "model": {"registry": {"name": NAME, "alias": "candidate"}},
        "runtime": {"name": "onnxruntime"},
        "rollout": {"steps": steps, "promotion": {"alias": "champion"}},
        "route": {"parentRefs": [{"name": "headrace", "namespace": "headrace-system"}]},
    }
    uid = await way.create(spec)
    await way.until(serves("1"))
    await mlflow.set_alias(way.model, "candidate", "2")
    await way.until(serves("2"))
    status, tale = await way.look(), way.tale()

    revision = status["stable"]["revision"]
    assert (status["phase"], status["stable"]["model"]["version"]) == ("Stable", "2"), tale
    assert [(entry["version"], entry["outcome"]) for entry in status["history"]] == [("2", "Promoted")], tale
    model = await mlflow.get_registered_model(way.model)
    assert model.aliases == {"candidate": "2", "champion": "2"}, tale
    assert [write[-1] for write in way.writes() if "registered-models/alias champion" in write] == ["1", "2"], tale
    assert model.tags[f"{PROMOTION_TAG_PREFIX}champion"] == f"{namespace}/{NAME}", tale
    told = [(await mlflow.get_model_version(way.model, version)).tags.get(ROLLOUT_TAG) for version in ("1", "2")]
    assert told == [None, "Promoted"], tale
    kinds = (CONTROLLERREVISIONS, DEPLOYMENTS, SERVICES, PDBS)
    objects = {("Service", NAME), ("HTTPRoute", NAME), *((kind.kind, revision) for kind in kinds)}
    assert await way.owned(*kinds, HTTPROUTES) == dict.fromkeys(objects, uid), tale
    route = await way.kube.get(HTTPROUTES, namespace, NAME)
    assert route is not None
    assert [backend["name"] for backend in route["spec"]["rules"][0]["backendRefs"]] == [revision], tale
    return way


class Guarding(Serving):
    """Somebody accepts the candidate's inputs, once the registry was told that they differ."""

    refused: Status  # as it was when it was accepted

    async def play(self) -> None:
        await super().play()
        live = await self.kube.get(MODELSERVICES, self.namespace, NAME)
        status = (live or {}).get("status") or {}
        if status.get("reason") == SIGNATURE_DIFFERS and not status.get("pendingOutcomes"):
            self.refused = status
            names = {"metadata": {"annotations": {ACCEPT_ANNOTATION: "2"}}}
            await self.kube.merge_patch(MODELSERVICES, self.namespace, NAME, names)


async def guard_and_accept(servers: Servers, namespace: str, die_after: int | None) -> Way:
    way, mlflow = Guarding(servers, namespace, die_after), servers.mlflow
    await Ledger(mlflow).ensure_model(namespace, NAME, "")
    for version, columns in ((1, 4), (2, 5)):
        tags = {DIGEST_TAG: f"sha256:{version:064d}", SIGNATURE_TAG: signature(columns)}
        await mlflow.create_model_version(way.model, f"s3://team-a/{version}", "", tags)
    await mlflow.set_alias(way.model, "candidate", "1")
    spec = {
        "model": {"registry": {"name": NAME, "alias": "candidate"}},
        "runtime": {"name": "onnxruntime"},
        "rollout": {"steps": [], "promotion": {"alias": "champion"}},
    }
    await way.create(spec)
    await way.until(serves("1"))
    await mlflow.set_alias(way.model, "candidate", "2")
    await way.until(lambda status: status.get("reason") == SIGNATURE_DIFFERS)
    made = await way.owned(CONTROLLERREVISIONS, DEPLOYMENTS, SERVICES, PODS)
    before = [(await mlflow.get_registered_model(way.model)).aliases, made]
    await way.until(serves("2"))
    status, tale = await way.look(), way.tale()

    differs = "input x: FP32 [-1,4] -> FP32 [-1,5]"
    refused = way.refused
    assert (refused["stable"]["model"]["version"], refused.get("canary")) == ("1", None), tale
    assert len({name for kind, name in made if kind == "Deployment"}) == 1, tale
    assert before[0] == {"candidate": "2", "champion": "1"}, tale
    ends = [(entry["version"], entry["outcome"], entry.get("difference")) for entry in status["history"]]
    assert ends == [("2", "Refused", differs), ("2", "Promoted", None)], tale
    assert (await mlflow.get_registered_model(way.model)).aliases == {"candidate": "2", "champion": "2"}, tale
    tags = (await mlflow.get_model_version(way.model, "2")).tags
    assert (tags[ROLLOUT_TAG], tags[DIFFERENCE_TAG]) == (
        "Promoted",
        f"from version 1 of model {way.model}: {differs}",
    ), tale
    return way


class Steering(Serving):
    """A person steers: aborts the first try at its first weight, retries it, ends its first step, and promotes it."""

    async def play(self) -> None:
        await super().play()
        live = await self.kube.get(MODELSERVICES, self.namespace, NAME)
        act = self.next_act((live or {}).get("status") or {})
        # Asked for once, however long it takes until it is done.
        if act is not None and (live or {})["metadata"].get("annotations", {}).get(ACT) != act:
            marks = {ACT: act, ACT_VERSION: "2", ACT_BY: "alice", ACT_AT: stamp(self.now)}
            await self.kube.merge_patch(MODELSERVICES, self.namespace, NAME, {"metadata": {"annotations": marks}})

    def next_act(self, status: Status) -> str | None:
        """What has not been asked for yet, once the service is where it makes sense."""
        done, at = len(status.get("acts") or ()), (status.get("rollout") or {}).get("appliedWeight")
        ended = status.get("phase") == "RolledBack" and not status.get("pendingOutcomes")
        order = (("abort", at == 20), ("retry", ended), ("skip", at == 20), ("promote", at == 60))
        act, is_time = order[done] if done < len(order) else ("", False)
        return act if is_time else None


async def steer_by_hand(servers: Servers, namespace: str, die_after: int | None) -> Way:
    way, mlflow = Steering(servers, namespace, die_after), servers.mlflow
    await Ledger(mlflow).ensure_model(namespace, NAME, "")
    for version in (1, 2):
        tags = {DIGEST_TAG: f"sha256:{version:064d}"}
        await mlflow.create_model_version(way.model, f"s3://team-a/{version}", "", tags)
    await mlflow.set_alias(way.model, "candidate", "1")
    spec = {
        "model": {"registry": {"name": NAME, "alias": "candidate"}},
        "runtime": {"name": "onnxruntime"},
        "rollout": {
            "steps": [{"weight": 20, "hold": "1s", "pause": {}}, {"weight": 60, "hold": "168h"}],
            "promotion": {"alias": "champion"},
        },
        "route": {"parentRefs": [{"name": "headrace", "namespace": "headrace-system"}]},
    }
    await way.create(spec)
    await way.until(serves("1"))
    await mlflow.set_alias(way.model, "candidate", "2")
    await way.until(lambda status: status.get("reason") == "Aborted" and status.get("phase") == "RolledBack")
    aborted = (await mlflow.get_model_version(way.model, "2")).tags.get(ROLLOUT_TAG)
    await way.until(lambda status: len(status.get("acts") or ()) == 3)
    await way.until(serves("2"))
    status, tale = await way.look(), way.tale()

    acts = [(act["act"], act["by"], act["outcome"]) for act in status["acts"]]
    assert acts == [(act, "alice", "Done") for act in ("abort", "retry", "skip", "promote")], tale
    ends = [(entry["version"], entry["outcome"], entry["by"]) for entry in status["history"]]
    assert ends == [("2", "Aborted", "alice"), ("2", "Promoted", "alice")], tale
    assert (await mlflow.get_registered_model(way.model)).aliases == {"candidate": "2", "champion": "2"}, tale
    tags = (await mlflow.get_model_version(way.model, "2")).tags
    assert (aborted, tags[ROLLOUT_TAG]) == ("Aborted", "Promoted"), tale
    events = [event["message"] for event in await way.kube.list(EVENTS, namespace) if event["reason"] == "ActTaken"]
    assert len(events) <= 4, tale  # a kill may lose one
    return way


# --- for all k -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server of its own, without controllers: theirs is played."""
    with ControlPlane.start(tmp_path_factory.mktemp("killed")) as plane:
        for manifests in (REPOSITORY / "crds", binaries.ensure().gateway_api):
            plane.run_kubectl("apply", "--server-side", "--filename", manifests)
        established(plane, "crd", "--all")
        yield plane


WAYS = {
    "training": train_and_register,
    "evaluation": evaluate_and_register,
    "approving": approve_and_point,
    "schedule": schedule_and_train,
    "serving": roll_out_and_promote,
    "guarding": guard_and_accept,
    "steering": steer_by_hand,
}


# Up to the first such write these write what others of the ways do.
BEGIN_ALIKE: dict[object, str] = {
    evaluate_and_register: "/jobs",
    guard_and_accept: "registered-models/alias champion 1",
    steer_by_hand: "registered-models/alias champion 1",
}


def alike_in(way: Way, writes: list[str]) -> list[str]:
    """The writes without what differs by the namespace: an Event's name is made of its text, which may name a model."""
    return [re.sub(r"(/events/\w+)\.[0-9a-f]+$", r"\1", write).replace(way.namespace, "") for write in writes]


@pytest.mark.parametrize("live_through", WAYS.values(), ids=WAYS.keys())
def test_whatever_write_an_operator_is_killed_after_the_next_one_ends_where_it_would_have(
    plane: ControlPlane,
    mlflow_url: str,
    live_through: Callable[[Servers, str, int | None], Awaitable[Way]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A pass that does not wait for a slow MLflow leaves its writes to the next one: then their order is by chance.
    monkeypatch.setattr(inflight, "PATIENCE_SECONDS", 60.0)

    async def all_of_it() -> None:
        prefix, at_once = live_through.__name__.partition("_")[0], asyncio.Semaphore(AT_ONCE)
        async with KubeClient.session(plane.kubeconfig) as kube, aiohttp.ClientSession() as http:
            servers = Servers(kube, MlflowClient(mlflow_url, *ADMIN, http))
            with suppress(AlreadyExists):
                await servers.mlflow.create_user(TENANT["mlflowUser"], "password-of-the-tenant")
            undisturbed = await live_through(servers, f"{prefix}-undisturbed", None)

            async def killed_after(k: int) -> None:
                async with at_once:
                    way = await live_through(servers, f"{prefix}-{k}", k)
                expected = alike_in(undisturbed, undisturbed.writes()[:k])
                assert alike_in(way, way.lives[0].written) == expected, way.tale()
                assert len(way.lives) == 2, way.tale()

            writes, alike = undisturbed.writes(), BEGIN_ALIKE.get(live_through, "")
            first = 0 if thorough.IS_WHOLE else next(k for k, write in enumerate(writes) if write.endswith(alike))
            kills = thorough.first_of_each(moments(writes)[first:])
            await asyncio.gather(*(killed_after(first + k) for k in kills))

    asyncio.run(all_of_it())
