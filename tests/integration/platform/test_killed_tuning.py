"""An operator killed after any write of a tuned job's own: each trial is begun once, and the best one's model is what
is registered. As in test_killed, others than the operator are played, and every run has a kill between any two kinds of
writes that follow each other; parameters are chosen by the real code.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import thorough
from crds import established
from faults import Killed, kind_of
from headrace import inflight
from headrace.kube.client import KubeClient
from headrace.kube.keys import Key
from headrace.kube.ownership import controller_reference
from headrace.kube.resources import JOBS, PODS, TRAININGJOBS, Object
from headrace.labels import TRIAL_MODEL
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import AlreadyExists
from headrace_common.protocol.config import Config, Stage, parse_config
from headrace_common.protocol.trials import PATH, Answer, parse_ask
from headrace_common.protocol.tuning import PORT
from headrace_common.tags import DIGEST_TAG, UID_TAG
from headrace_local.controlplane import ControlPlane
from headrace_trainer.tuning.study import suggest
from training_builders import stamp

from .conftest import ADMIN
from .test_killed import AT_ONCE, DIGEST, NAME, REPOSITORY, TENANT, Life, Servers, Status, Way

TRIALS = 3
SPEC: dict[str, Any] = {
    "source": {"configMap": {"name": "code"}},
    "entrypoint": "train.py",
    "parameters": {"epochs": 1, "rate": 0.01},
    "tracking": {"experiment": NAME},
    "evaluation": {"gates": [{"metric": "val_accuracy", "min": "0.5"}]},
    "output": {"model": NAME, "alias": "candidate"},
    "tuning": {
        "objective": {"metric": "val_accuracy", "goal": "Maximize"},
        "space": [{"name": "rate", "type": "Float", "min": "0.001", "max": "0.1", "log": True}],
        "maxTrials": TRIALS,
        "parallel": 2,
        "keep": 1,
    },
}
_numbers = itertools.count(1)


class Tuned(Way):
    """A job with trials: one look is a pass over it and over each of its trials."""

    resource = TRAININGJOBS

    def __init__(self, servers: Servers, namespace: str, die_after: int | None) -> None:
        super().__init__(servers, namespace, die_after)
        number = next(_numbers)
        self.ip = f"127.9.{number // 250}.{number % 250 + 1}"
        self.asked_at_once: list[int] = []
        self.is_over = False

    async def serve(self) -> web.AppRunner:
        """The pod of the tuning, of which only this is looked at."""
        app = web.Application()
        app.router.add_post(PATH, self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, self.ip, PORT).start()
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        asked = parse_ask(await request.json())
        self.is_over = self.is_over or asked.is_last
        tuner = await self.kube.get(JOBS, self.namespace, f"{NAME}-1")
        assert tuner is not None
        tuning = told(tuner).tuning
        assert tuning is not None
        self.asked_at_once.append(len(asked.wanted) + sum(one.state == "Running" for one in asked.trials))
        return web.json_response(Answer(suggest(tuning, asked.trials, asked.wanted)).as_json())

    async def look(self) -> Status:
        for name in (NAME, *(f"{NAME}-t{number}" for number in range(TRIALS))):
            try:
                await self.reconciler.reconcile(Key(TRAININGJOBS, self.namespace, name))
            except Killed:
                self.begin(Life())
        self.now += timedelta(seconds=15)
        await self.play()
        live = await self.kube.get(TRAININGJOBS, self.namespace, NAME)
        return (live or {}).get("status") or {}

    async def play(self) -> None:
        jobs = {found["metadata"]["name"]: found for found in await self.kube.list(JOBS, self.namespace)}
        pods = {found["metadata"]["name"]: found for found in await self.kube.list(PODS, self.namespace)}
        for name, job in sorted(jobs.items()):
            config, pod = told(job), pods.get(name)
            if pod is None:
                await self._begin(name, job, config)
            elif pod["status"]["phase"] == "Running" and (config.stage is Stage.TRAIN or self.is_over):
                await self._end(name, job, config)

    async def _begin(self, name: str, job: Object, config: Config) -> None:
        statuses = [container({"running": {}}) | {"ready": True}]
        owner = controller_reference(JOBS, name, job["metadata"]["uid"])
        metadata = {"annotations": {"batch.kubernetes.io/job-completion-index": "0"}, "ownerReferences": [owner]}
        template = job["spec"]["template"]
        placed = {**template, "spec": {**template["spec"], "nodeName": "node-1"}}
        job = {**job, "spec": {**job["spec"], "template": placed}}
        ip = {"podIP": self.ip, "podIPs": [{"ip": self.ip}]} if config.stage is Stage.TUNE else {}
        await self.make_pod(job, name, {"phase": "Running", "containerStatuses": statuses, **ip}, **metadata)

    async def _end(self, name: str, job: Object, config: Config) -> None:
        at, record = stamp(self.now), json.dumps(await self._work(config))
        end = {"exitCode": 0, "reason": "Completed", "message": record, "finishedAt": at}
        done = {"phase": "Succeeded", "containerStatuses": [container({"terminated": end}) | {"ready": False}]}
        await self.kube.merge_patch(PODS, self.namespace, name, {"status": done}, "status")
        met = [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]
        over = {"startTime": at, "completionTime": at, "succeeded": 1, "completedIndexes": "0", "conditions": met}
        await self.kube.merge_patch(JOBS, self.namespace, name, {"status": over}, "status")

    async def _work(self, config: Config) -> Object:
        """The launcher's: a run, and of a trial a model. The middle one is the best."""
        assert config.tracking is not None
        pairs = [{"key": UID_TAG, "value": config.job.uid}, {"key": DIGEST_TAG, "value": DIGEST}]
        asked = {"experiment_id": config.tracking.experiment_id, "tags": pairs, "start_time": 1}
        run = (await self.mlflow._call("POST", "2.0/mlflow/runs/create", "a run", body=asked))["run"]["info"]
        record = {
            "protocol": 1,
            "outcome": "Succeeded",
            "time": int(self.now.timestamp() * 1000),
            "run": {"id": run["run_id"], "experimentId": run["experiment_id"]},
        }
        if config.stage is Stage.TUNE:
            return record
        value = {"t0": 0.7, "t1": 0.9, "t2": 0.8}[config.job.name.rpartition("-")[2]]
        metric = {"run_id": run["run_id"], "key": "val_accuracy", "value": value, "timestamp": 1}
        await self.mlflow._call("POST", "2.0/mlflow/runs/log-metric", "a metric", body=metric)
        model = {"uri": f"{run['artifact_uri']}/model", "digest": DIGEST, "formats": ["ONNX"]}
        return record | {"model": model}


def container(state: Object) -> Object:
    return {"name": "trainer", "image": "i", "imageID": "i@sha256:1", "restartCount": 0, "state": state}


def told(job: Object) -> Config:
    """The instructions of its pods."""
    [trainer] = job["spec"]["template"]["spec"]["containers"]
    return parse_config(next(one["value"] for one in trainer["env"] if one["name"] == "HEADRACE_CONFIG"))


async def tune_and_register(servers: Servers, namespace: str, die_after: int | None) -> Tuned:
    way, mlflow = Tuned(servers, namespace, die_after), servers.mlflow
    pod = await way.serve()
    try:
        uid = await way.create(SPEC)
        await way.until(lambda status: status.get("state") in ("Succeeded", "Failed"))
        status, tale = await way.look(), way.tale()
    finally:
        await pod.cleanup()

    ended = (status["state"], status["reason"], status["attempt"]["number"], status["model"]["version"])
    assert ended == ("Succeeded", "GatePassed", 1, "1"), tale
    found = {one["metadata"]["name"]: one for one in await way.kube.list(TRAININGJOBS, namespace)}
    trials = [f"{NAME}-t{number}" for number in range(TRIALS)]
    assert sorted(found) == [NAME, *trials], tale
    assert {found[name]["status"]["reason"] for name in trials} == {"TrialEnded"}, tale
    decided = [found[name]["metadata"]["annotations"].get(TRIAL_MODEL) for name in trials]
    assert decided == ["Removed", None, "Removed"], tale
    rates = [found[name]["spec"]["parameters"]["rate"] for name in trials]
    assert (rates[0], len(set(rates))) == (0.01, TRIALS), tale
    assert status["tuning"]["trials"] == {"total": TRIALS, "running": 0, "succeeded": TRIALS, "failed": 0}, tale
    best = status["tuning"]["best"]
    assert (best["name"], best["value"], float(best["parameters"]["rate"])) == (trials[1], "0.9", rates[1]), tale
    assert max(way.asked_at_once) <= 2, tale
    experiment, best_uid = status["run"]["experimentID"], found[trials[1]]["metadata"]["uid"]
    runs = {
        of: await mlflow.search_runs(experiment, UID_TAG, of)
        for of in (uid, *(found[name]["metadata"]["uid"] for name in trials))
    }
    assert {len(one) for one in runs.values()} == {1}, tale
    [version] = await mlflow.search_model_versions(way.model, UID_TAG, uid)
    assert version.digest == DIGEST, tale
    assert status["model"]["uri"] == f"{runs[best_uid][0].artifact_uri}/model", tale
    assert (await mlflow.get_registered_model(way.model)).aliases == {"candidate": "1"}, tale
    acts = ("/trainingjobs", "/jobs", "model-versions/create", "alias candidate 1")
    made = {act: sum(write.startswith("POST") and write.endswith(act) for write in way.writes()) for act in acts}
    assert made == {acts[0]: TRIALS, acts[1]: TRIALS + 1, acts[2]: 1, acts[3]: 1}, tale
    return way


def is_of_the_job(write: str) -> bool:
    """What its trials write is what any training does."""
    if write.startswith("PATCH") and write.endswith(tuple(f"/trainingjobs/{NAME}-t{n}" for n in range(TRIALS))):
        return True
    return write.endswith(("/trainingjobs", f"/trainingjobs/{NAME}/status", f"/{NAME}-1", f"/{NAME}-1/status"))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server of its own, without controllers: theirs is played."""
    with ControlPlane.start(tmp_path_factory.mktemp("tuning")) as plane:
        plane.run_kubectl("apply", "--server-side", "--filename", Path(REPOSITORY) / "crds")
        established(plane, "crd", "--all")
        yield plane


def test_whatever_write_an_operator_is_killed_after_each_trial_is_begun_once(
    plane: ControlPlane, mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pass that does not wait for a slow MLflow leaves its writes to the next one: then their order is by chance.
    monkeypatch.setattr(inflight, "PATIENCE_SECONDS", 60.0)

    async def all_of_it() -> None:
        at_once = asyncio.Semaphore(AT_ONCE)
        async with KubeClient.session(plane.kubeconfig) as kube, aiohttp.ClientSession() as http:
            servers = Servers(kube, MlflowClient(mlflow_url, *ADMIN, http))
            with suppress(AlreadyExists):
                await servers.mlflow.create_user(TENANT["mlflowUser"], "password-of-the-tenant")
            undisturbed = await tune_and_register(servers, "tune-undisturbed", None)

            async def killed_after(k: int) -> None:
                async with at_once:
                    way = await tune_and_register(servers, f"tune-{k}", k)
                assert len(way.lives) == 2, way.tale()

            writes = undisturbed.writes()
            after = [k for k, write in enumerate(writes, 1) if is_of_the_job(write.partition("?")[0])]
            assert len(after) > TRIALS + 4
            kinds = [*map(kind_of, writes), ""]
            kills = thorough.first_of_each([(kinds[k - 1], kinds[k]) for k in after])
            await asyncio.gather(*(killed_after(after[k]) for k in kills))

    asyncio.run(all_of_it())
