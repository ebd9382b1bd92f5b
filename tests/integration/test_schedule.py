"""A TrainingJob with a schedule on a real API server, with Kubernetes' CronJob controller and garbage collector.

Its trainings' ends are written as their own passes would; the operator is called by hand.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from faults import FaultyClient
from headrace.kube.client import KubeClient
from headrace.kube.errors import KubeError
from headrace.kube.keys import Key
from headrace.kube.resources import CRONJOBS, JOBS, PODS, TRAININGJOBS, Object, Resource
from headrace.training.reconcile import TrainingReconciler
from training_builders import SETTINGS, stamp

NAME = "text"
WAIT_SECONDS = 180.0
# The next time is long after the test: Jobs are made by hand, as a person does who will not wait.
SELDOM: dict[str, Any] = {"cron": "0 0 1 1 *"}


class Bench:
    """One TrainingJob with a schedule in a namespace of its own."""

    def __init__(self, client: KubeClient, http: aiohttp.ClientSession, kubectl: Any, namespace: str) -> None:
        self.client = client
        self.kubectl = kubectl
        self.namespace = namespace
        settings = replace(SETTINGS, tracking=None, storage=None, operator_namespace=namespace)
        self.operator = TrainingReconciler(client, http, settings, None)
        self.ends = itertools.count()

    async def create(self, **spec: Any) -> Object:
        wanted = {"source": {"configMap": {"name": "code"}}, "entrypoint": "train.py", "schedule": SELDOM} | spec
        return await self.client.create(TRAININGJOBS, {"metadata": self.metadata(NAME), "spec": wanted})

    def metadata(self, name: str) -> Object:
        return {"name": name, "namespace": self.namespace}

    async def change(self, **spec: Any) -> None:
        await self.client.merge_patch(TRAININGJOBS, self.namespace, NAME, {"spec": spec})

    async def until(self, is_there: Callable[[Object], Any]) -> Object:
        """Look, as the queue would, until the status is as asked."""
        deadline, error = time.monotonic() + WAIT_SECONDS, None
        while True:
            try:
                await self.operator.reconcile(Key(TRAININGJOBS, self.namespace, NAME))
            except KubeError as raised:  # looked at again, as by the queue
                error = raised
            status: Object = (await self.there(TRAININGJOBS, NAME)).get("status") or {}
            if is_there(status):
                return status
            assert time.monotonic() < deadline, f"{status}, {error}"
            await asyncio.sleep(0.2)

    async def there(self, resource: Resource, name: str) -> Object:
        found = await self.client.get(resource, self.namespace, name)
        assert found is not None, f"{resource.kind} {name} is not there"
        return found

    async def run_now(self, name: str) -> Object:
        """What a person does who will not wait, and what the CronJob controller does at each time."""
        self.kubectl("create", "job", name, f"--from=cronjob/{NAME}", "--namespace", self.namespace)
        return await self.there(JOBS, name)

    async def tick(self) -> None:
        """It is time: the CronJob controller makes up for the newest of the times that it seems to have missed."""
        last = {"status": {"lastScheduleTime": stamp(datetime.now(UTC) - timedelta(hours=2))}}
        await self.client.merge_patch(CRONJOBS, self.namespace, NAME, last, "status")

    async def active(self, *, but: str = "") -> str:
        """The one training that is under way, once it is another than `but`."""

        def is_there(status: Object) -> bool:
            names = names_of(status["schedule"].get("active", []))
            return len(names) == 1 and names != [but]

        return names_of((await self.until(is_there))["schedule"]["active"])[0]

    async def end(self, name: str, state: str, reason: str) -> None:
        at = f"2030-01-01T00:00:{next(self.ends):02}Z"  # each later than those before, in whichever second they began
        columns = {"model": "text/7", "metric": "val_loss=0.5"}
        status = {"state": state, "reason": reason, "message": "why", "completionTime": at, "columns": columns}
        await self.client.merge_patch(TRAININGJOBS, self.namespace, name, {"status": status}, "status")

    async def gone(self, resource: Resource, name: str) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while await self.client.get(resource, self.namespace, name) is not None:
                await asyncio.sleep(0.2)


Drive = Callable[[Callable[[Bench], Awaitable[None]]], None]


@pytest.fixture
def drive(control_plane: Any, kubectl: Any, namespace: str) -> Drive:
    def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
        async def all_of_it() -> None:
            async with KubeClient.session(control_plane.kubeconfig) as client, aiohttp.ClientSession() as http:
                await scenario(Bench(client, http, kubectl, namespace))

        asyncio.run(all_of_it())

    return run


def conditions_of(job: Object) -> dict[str, str]:
    return {one["type"]: one["reason"] for one in job["status"]["conditions"] if one["status"] == "True"}


def names_of(trainings: list[Object]) -> list[str]:
    return [one["name"] for one in trainings]


def test_a_schedule_is_a_cron_job_whose_jobs_are_trainings(drive: Drive) -> None:
    async def scenario(bench: Bench) -> None:
        asked = {"timeZone": "Europe/Berlin", "concurrencyPolicy": "Allow", "startingDeadlineSeconds": 600}
        template = await bench.create(schedule=SELDOM | asked, parameters={"epochs": 2}, podTemplate={"spec": {"x": 1}})
        status = await bench.until(lambda status: status.get("state") == "Scheduled")
        assert status["reason"] == "WaitingForSchedule"
        cron_job = await bench.there(CRONJOBS, NAME)
        asked |= {"schedule": "0 0 1 1 *", "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
        assert asked.items() <= cron_job["spec"].items()
        assert cron_job["metadata"]["ownerReferences"][0]["uid"] == template["metadata"]["uid"]

        job = await bench.run_now("text-now")
        status = await bench.until(lambda status: names_of(status["schedule"].get("active", [])) == ["text-now"])
        assert status["reason"] == "TrainingOnSchedule"
        training = await bench.there(TRAININGJOBS, "text-now")
        assert training["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
        once = {name: part for name, part in template["spec"].items() if name != "schedule"}
        assert training["spec"] == once
        assert "startTime" in (await bench.there(JOBS, "text-now"))["status"]

        await bench.end("text-now", "Succeeded", "GatePassed")
        status = await bench.until(lambda status: status["schedule"].get("last"))
        last = status["schedule"]["last"]
        assert (last["name"], last["state"], last["reason"]) == ("text-now", "Succeeded", "GatePassed")
        assert status["columns"]["model"] == "text/7"
        met = conditions_of(await bench.there(JOBS, "text-now"))
        assert met == {"SuccessCriteriaMet": "GatePassed", "Complete": "GatePassed"}

        await bench.run_now("text-again")
        await bench.until(lambda status: names_of(status["schedule"].get("active", [])) == ["text-again"])
        await bench.end("text-again", "Failed", "OutOfMemory")
        await bench.until(lambda status: status["schedule"]["last"]["name"] == "text-again")
        met = conditions_of(await bench.there(JOBS, "text-again"))
        assert met == {"FailureTarget": "OutOfMemory", "Failed": "OutOfMemory"}

        assert await bench.client.list(PODS, bench.namespace) == []
        # What the CronJob controller makes of it.
        async with asyncio.timeout(WAIT_SECONDS):
            while "lastSuccessfulTime" not in (await bench.there(CRONJOBS, NAME)).get("status", {}):
                await asyncio.sleep(0.5)

        shown = bench.kubectl("get", "trainingjobs", "--namespace", bench.namespace)
        assert "Scheduled" in shown, shown
        await bench.client.delete(TRAININGJOBS, bench.namespace, NAME, uid=template["metadata"]["uid"])
        for resource, name in ((CRONJOBS, NAME), (JOBS, "text-now"), (TRAININGJOBS, "text-now")):
            await bench.gone(resource, name)

    drive(scenario)


def test_what_a_cron_job_does_with_its_jobs_it_does_with_trainings(drive: Drive) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create(schedule={"cron": "0 * * * *"})
        await bench.until(lambda status: status.get("state") == "Scheduled")
        await bench.tick()
        first = await bench.active()
        assert re.fullmatch(rf"{NAME}-\d{{8}}", first)

        # Forbid: this time is left out.
        await bench.change(schedule={"cron": "30 * * * *"})
        await bench.until(lambda status: status["observedGeneration"] == 2)
        await bench.tick()
        async with asyncio.timeout(WAIT_SECONDS):
            while "JobAlreadyActive" not in bench.kubectl("events", "--namespace", bench.namespace):
                await asyncio.sleep(0.5)
        assert await bench.active() == first

        # Replace: the earlier one goes, with its TrainingJob.
        await bench.change(schedule={"concurrencyPolicy": "Replace"})
        await bench.until(lambda status: status["observedGeneration"] == 3)
        await bench.tick()
        second = await bench.active(but=first)
        await bench.gone(TRAININGJOBS, first)

        # The history: none that failed is kept, and the last one is told all the same.
        await bench.change(schedule={"failedJobsHistoryLimit": 0, "suspend": True})
        await bench.until(lambda status: status["state"] == "Suspended")
        assert (await bench.there(CRONJOBS, NAME))["spec"]["suspend"] is True
        await bench.end(second, "Failed", "OutOfMemory")
        await bench.until(lambda status: not status["schedule"]["active"])
        await bench.gone(TRAININGJOBS, second)
        status = await bench.until(lambda status: True)
        assert (status["schedule"]["last"]["name"], status["schedule"]["last"]["reason"]) == (second, "OutOfMemory")

    drive(scenario)


def test_what_goes_wrong_is_told(drive: Drive) -> None:
    async def scenario(bench: Bench) -> None:
        # The rules of the CRD do not see that a range runs backwards; the API server does when it gets the CronJob.
        await bench.create(schedule={"cron": "0 0 * * 5-1"})
        status = await bench.until(lambda status: status.get("reason") == "ScheduleInvalid")
        assert "beginning of range (5) beyond end of range (1)" in status["message"]
        await bench.change(schedule={"cron": "0 0 * * 1-5"})
        await bench.until(lambda status: status["reason"] == "WaitingForSchedule")
        await bench.change(schedule={"cron": "0 0 * * 5-1"})
        status = await bench.until(lambda status: status["reason"] == "ScheduleInvalid")
        assert status["message"].endswith("until then the schedule is still 0 0 * * 1-5")
        await bench.change(schedule={"cron": "0 0 * * 1-5"})
        await bench.until(lambda status: status["reason"] == "WaitingForSchedule")

        # A Job with a name that no TrainingJob may have.
        await bench.run_now("text.now")
        status = await bench.until(lambda status: status["schedule"].get("last"))
        assert "at most 40 lower-case letters" in status["schedule"]["last"]["message"]
        assert conditions_of(await bench.there(JOBS, "text.now")) == {"FailureTarget": "Refused", "Failed": "Refused"}

        # A Job with the name of a TrainingJob that is somebody's.
        spec = {"source": {"configMap": {"name": "code"}}, "entrypoint": "train.py"}
        await bench.client.create(TRAININGJOBS, {"metadata": bench.metadata("mine"), "spec": spec})
        await bench.run_now("mine")
        status = await bench.until(lambda status: status["schedule"]["last"]["name"] == "mine")
        assert "TrainingJob " in status["schedule"]["last"]["message"]
        assert "exists already" in status["schedule"]["last"]["message"]
        assert "ownerReferences" not in (await bench.there(TRAININGJOBS, "mine"))["metadata"]

        # A training that is deleted, and one that has lost its label.
        await bench.run_now("text-now")
        await bench.active()
        training = await bench.there(TRAININGJOBS, "text-now")
        unmarked = {"metadata": {"labels": None}}
        await bench.client.merge_patch(TRAININGJOBS, bench.namespace, "text-now", unmarked)
        assert await bench.active() == "text-now"
        await bench.client.delete(TRAININGJOBS, bench.namespace, "text-now", uid=training["metadata"]["uid"])
        status = await bench.until(lambda status: status["schedule"]["last"]["name"] == "text-now")
        assert status["schedule"]["last"]["reason"] == "TrainingDeleted"

        # The CronJob is deleted, and there again; the name is another's.
        before = await bench.there(CRONJOBS, NAME)
        await bench.client.delete(CRONJOBS, bench.namespace, NAME, uid=before["metadata"]["uid"])
        await bench.until(lambda status: True)
        again = await bench.there(CRONJOBS, NAME)
        assert again["metadata"]["uid"] != before["metadata"]["uid"]
        await bench.client.merge_patch(CRONJOBS, bench.namespace, NAME, {"metadata": {"ownerReferences": None}})
        status = await bench.until(lambda status: status["reason"] == "NameInUse")
        assert f"kubectl -n {bench.namespace} delete cronjobs {NAME}" in status["message"]

    drive(scenario)


def test_a_quota_that_has_no_room_for_a_job_is_told(drive: Drive) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create(schedule={"cron": "0 * * * *"})
        await bench.until(lambda status: status.get("state") == "Scheduled")
        quota = ("quota", "none", "--namespace", bench.namespace)
        bench.kubectl("create", *quota, "--hard=count/jobs.batch=0")
        async with asyncio.timeout(WAIT_SECONDS):
            while '"used"' not in bench.kubectl("get", *quota, "--output=json"):
                await asyncio.sleep(0.2)
        await bench.tick()
        status = await bench.until(lambda status: status["reason"] == "JobRefused")
        assert "exceeded quota: none" in status["message"]
        bench.kubectl("delete", *quota)
        assert (await bench.active()).startswith(NAME)

    drive(scenario)


def test_a_schedule_at_rest_is_not_written(drive: Drive) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.create()
        await bench.until(lambda status: status.get("state") == "Scheduled")
        await bench.until(lambda status: True)
        before = [await bench.there(kind, NAME) for kind in (CRONJOBS, TRAININGJOBS)]
        counting = FaultyClient.around(bench.client, die_after=0)
        settings = replace(SETTINGS, tracking=None, storage=None)
        operator = TrainingReconciler(counting, bench.operator._http, settings, None)
        assert await operator.reconcile(Key(TRAININGJOBS, bench.namespace, NAME)) is None
        assert [await bench.there(kind, NAME) for kind in (CRONJOBS, TRAININGJOBS)] == before

    drive(scenario)
