"""The manifests that the quickstart applies are the example's, and what the API accepts."""

from __future__ import annotations

import ast

import pytest
import yaml

from headrace.api.modelservice import ModelService
from headrace.api.trainingjob import TrainingJob
from headrace_local.quickstart import training
from headrace_local.quickstart.names import TENANT

JOBS = (training.FIRST, training.BETTER, training.SLOW)
SERVER_SIDE = {"namespace": TENANT, "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1}


def as_created(manifest: dict) -> dict:
    return {**manifest, "metadata": {**manifest["metadata"], **SERVER_SIDE}}


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_each_job_is_a_valid_trainingjob_that_feeds_the_services_alias(job):
    trained = TrainingJob.model_validate(as_created(job.manifest())).spec.output

    service = yaml.safe_load((training.EXAMPLE / "modelservice.yaml").read_text())
    followed = ModelService.model_validate(as_created(service)).spec.model.registry
    assert (trained.model, trained.alias) == (followed.name, followed.alias)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_the_script_takes_every_parameter(job):
    tree = ast.parse((training.EXAMPLE / "train.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    options = {call.args[0].value for call in calls if getattr(call.func, "attr", "") == "add_argument"}

    assert {f"--{name}" for name in job.manifest()["spec"]["parameters"]} <= options


def test_only_the_bad_version_has_no_gate():
    assert [job.name for job in JOBS if "evaluation" not in job.manifest()["spec"]] == [training.SLOW.name]
