"""A version that waits for a person, on a real MLflow: its tags, its description, its alias, and who serves it when."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from headrace.api.trainingjob import ApprovalState, StageStatus, TrainingJob
from headrace.serving.resolve import Models, find_models
from headrace.tracking.aliases import Aliases
from headrace.tracking.client import MlflowClient
from headrace.tracking.ledger import DESCRIPTION_LENGTH, Ledger
from headrace.tracking.records import ModelVersion
from headrace.training.approval import Decision, decided, taken
from headrace.training.approving import record_decision
from headrace.training.finish import finish
from headrace_common.tags import DESCRIPTION_TAG, DIGEST_TAG, UID_TAG
from serving_builders import model_service
from training_builders import NOW, training_job

from .conftest import ADMIN

DIGEST = "sha256:" + "ab" * 32
CARD = "# A model card\n\n" + "x" * DESCRIPTION_LENGTH


@dataclass
class Way:
    """A registry in which version 1 is served, and a job with version 2."""

    mlflow: MlflowClient
    namespace: str

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.mlflow)

    @property
    def model(self) -> str:
        return f"{self.namespace}.text"

    async def first_version(self) -> None:
        await self.ledger.ensure_model(self.namespace, "text", "")
        await self.ledger.register(self.model, "", "sha256:1", "s3://team-a/1", "an-earlier-job")
        await self.ledger.point_alias(self.model, "candidate", "1")

    async def trained(self) -> TrainingJob:
        """A job that waits, at whose end its version was registered; twice, as by an operator that was killed."""
        experiment = await self.ledger.ensure_experiment(self.namespace, "x", "team-a", "")
        job_uid = str(uuid.uuid4())
        tags = [{"key": UID_TAG, "value": job_uid}, {"key": DIGEST_TAG, "value": DIGEST}]
        body = {"experiment_id": experiment.id, "tags": tags, "start_time": 1}
        run = (await self.mlflow._call("POST", "2.0/mlflow/runs/create", "a run", body=body))["run"]["info"]
        job = training_job(
            {
                "state": "Finishing",
                "model": {"name": self.model, "uri": f"{run['artifact_uri']}/model", "digest": DIGEST},
                "run": {"id": run["run_id"], "experimentID": experiment.id},
            },
            workers=1,
            tracking={"experiment": "x"},
            output={"model": "text", "alias": "candidate", "approval": {"required": True}},
        )
        mine = {"namespace": self.namespace, "uid": job_uid}
        job = job.model_copy(update={"metadata": job.metadata.model_copy(update=mine)})
        for _ in range(2):
            verdict = await finish(job, self.ledger, "", NOW)
        return job.with_status(verdict.status)

    async def decide(self, job: TrainingJob, decision: str, reason: str) -> TrainingJob:
        """What a person said, told to MLflow twice."""
        said = Decision(ApprovalState(decision), "alice@example.com", reason)
        job = job.with_status(taken(job, said, NOW + timedelta(seconds=1)))
        for _ in range(2):
            problem = await record_decision(job, self.ledger)
        return job.with_status(decided(job, problem).status)

    async def served(self, **registry: str) -> Models:
        """What a ModelService finds."""
        service = model_service(model={"registry": {"name": "text", **registry}})
        meta = service.metadata.model_copy(update={"namespace": self.namespace})
        found = service.model_copy(update={"metadata": meta})
        return await find_models(found, None, self.ledger, self.mlflow)  # type: ignore[arg-type]

    async def version(self, number: str) -> ModelVersion:
        return await self.mlflow.get_model_version(self.model, number)

    async def alias(self) -> Any:
        """Where those see it that read all aliases at once."""
        return await Aliases(self.mlflow).find(self.model, "candidate")


@pytest.mark.parametrize("decision", ["Approved", "Refused"])
def test_a_version_is_followed_once_a_person_has_approved_it_and_never_before(mlflow_url: str, decision: str) -> None:
    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            way = Way(MlflowClient(mlflow_url, *ADMIN, session), f"test-{uuid.uuid4().hex[:12]}")
            await way.first_version()
            job = await way.trained()

            assert job.status.reason == "AwaitingApproval"
            waits = await way.version("2")
            assert waits.tags == {"headrace.approval": "Awaiting", UID_TAG: job.metadata.uid, DIGEST_TAG: DIGEST}
            followed, named = await way.served(alias="candidate"), await way.served(version="2")
            assert followed.source is not None
            assert (followed.source.version, (await way.alias()).version) == ("1", "1")
            assert (named.source, (named.problem or ("",))[0]) == (None, "AwaitingApproval")

            await way.mlflow.describe_model_version(way.model, "2", CARD[:DESCRIPTION_LENGTH])
            job = await way.decide(job, decision, 'it\'s `right` & "good"')

            version = await way.version("2")
            told = {name: value for name, value in version.tags.items() if name.startswith("headrace.approval")}
            assert told == {
                "headrace.approval": decision,
                "headrace.approval.by": "alice@example.com",
                "headrace.approval.at": "2030-01-01T12:00:01Z",
                "headrace.approval.reason": 'it\'s `right` & "good"',
            }
            assert version.description.startswith("# A model card\n\nxxx")
            # As text, in what MLflow shows as Markdown.
            paragraph = f'{decision} by alice@example.com at 2030-01-01T12:00:01Z: it\'s \\`right\\` &amp; "good"'
            assert version.description.endswith(f"x\n\n{paragraph}")
            assert (len(version.description), version.description.count(paragraph)) == (DESCRIPTION_LENGTH, 1)
            at = "2" if decision == "Approved" else "1"
            followed, named = await way.served(alias="candidate"), await way.served(version="2")
            assert followed.source is not None
            assert (followed.source.version, (await way.alias()).version) == (at, at)
            assert (named.problem or ("",))[0] == ("" if decision == "Approved" else "ApprovalRefused")
            assert job.status.model is not None
            assert job.status.model.alias == ("candidate" if decision == "Approved" else None)

    asyncio.run(scenario())


@pytest.mark.parametrize("decision", ["Approved", "Refused"])
@pytest.mark.parametrize("run", ["there", "deleted", "gone for good"])
def test_the_card_of_the_evaluation_says_who_decided(mlflow_url: str, decision: str, run: str) -> None:
    async def scenario() -> str:
        async with aiohttp.ClientSession() as session:
            way = Way(MlflowClient(mlflow_url, *ADMIN, session), f"test-{uuid.uuid4().hex[:12]}")
            await way.first_version()
            job = await way.trained()
            assert job.status.run is not None
            card = [{"key": DESCRIPTION_TAG, "value": CARD[:DESCRIPTION_LENGTH]}]
            body = {"experiment_id": job.status.run.experiment_id, "tags": card, "start_time": 1}
            made = (await way.mlflow._call("POST", "2.0/mlflow/runs/create", "a run", body=body))["run"]["info"]
            told = made["run_id"] if run != "gone for good" else "0" * 32
            if run == "deleted":
                await way.mlflow._call("POST", "2.0/mlflow/runs/delete", "a run", body={"run_id": told})
            evaluated = StageStatus.model_validate({"name": "Evaluate", "state": "Succeeded", "run": {"id": told}})

            job = await way.decide(job.with_status(job.status.evolve(stages=(evaluated,))), decision, "read *it*")

            assert job.status.reason == ("Approved" if decision == "Approved" else "ApprovalRefused")
            return (await way.mlflow.get_run(made["run_id"])).tags[DESCRIPTION_TAG]

    shown = asyncio.run(scenario())
    paragraph = f"{decision} by alice@example.com at 2030-01-01T12:00:01Z: read \\*it\\*"
    assert shown.startswith("# A model card\n\nxxx")
    assert len(shown) == DESCRIPTION_LENGTH
    assert shown.count(paragraph) == (1 if run == "there" else 0)


def test_a_version_that_was_deleted_before_the_decision_is_told(mlflow_url: str) -> None:
    async def scenario() -> TrainingJob:
        async with aiohttp.ClientSession() as session:
            way = Way(MlflowClient(mlflow_url, *ADMIN, session), f"test-{uuid.uuid4().hex[:12]}")
            await way.first_version()
            job = await way.trained()
            path = "2.0/mlflow/model-versions/delete"
            await way.mlflow._call("DELETE", path, "a version", body={"name": way.model, "version": "2"})
            job = await way.decide(job, "Approved", "")
            assert (await way.alias()).version == "1"
            return job

    status = asyncio.run(scenario()).status
    assert (status.state, status.reason) == ("Succeeded", "TrackingNotFound")
    assert status.message is not None
    assert "version 2 of model" in status.message
