"""What the pods of an attempt with several workers are told of one another, by framework."""

import json

import pytest

from headrace.api.frameworks import FRAMEWORKS, Framework
from headrace.kube.resources import JOBS, SERVICES
from headrace.training.observed import Observed, Source
from headrace.training.plan import plan
from headrace.training.view import Start
from training_builders import NOW, SETTINGS, training_job

NOTHING = Observed(jobs=(), pods=(), source=Source({"train.py": "print()"}, "5"))
PROGRAMS = {"framework": "Script", "strategy": {"type": "MultiWorker", "workers": 3}}


def created(job, resource):
    return next(body for kind, body in plan(job, NOTHING, Start(), NOW, SETTINGS).creates if kind == resource)


def trainer(job):
    [container] = created(job, JOBS)["spec"]["template"]["spec"]["containers"]
    return container


def config(job):
    [text] = [env["value"] for env in trainer(job)["env"] if env["name"] == "HEADRACE_CONFIG"]
    return json.loads(text)


def test_the_pods_of_any_program_are_one_job_and_know_all_names_and_the_port_at_which_rank_0_listens():
    job = created(training_job(**PROGRAMS), JOBS)
    told = config(training_job(**PROGRAMS))

    assert (job["spec"]["completions"], job["spec"]["parallelism"], job["spec"]["backoffLimit"]) == (3, 3, 0)
    assert told["framework"] == "Script"
    assert (told["workers"]["count"], told["workers"]["port"]) == (3, 29500)
    assert told["workers"]["addresses"] == [f"text-1-{n}.text-1.team-a.svc.cluster.local." for n in range(3)]


@pytest.mark.parametrize("framework", Framework)
def test_the_port_is_named_by_the_pod_and_by_the_service_that_gives_the_names(framework):
    strategy = {"type": "MultiWorkerMirrored" if framework is Framework.KERAS else "MultiWorker", "workers": 2}
    job = training_job(framework=framework, strategy=strategy)
    rendezvous = FRAMEWORKS[framework].rendezvous

    expected = {rendezvous.name: rendezvous.port, "progress": 9400}
    assert {port["name"]: port["containerPort"] for port in trainer(job)["ports"]} == expected
    assert {port["name"]: port["port"] for port in created(job, SERVICES)["spec"]["ports"]} == expected
    assert created(job, SERVICES)["spec"]["publishNotReadyAddresses"] is True
