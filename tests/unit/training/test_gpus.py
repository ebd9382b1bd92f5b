"""What a job with GPUs gets: the image for them, their number in the launcher's configuration, a large /dev/shm."""

from dataclasses import replace

import pytest

from headrace.kube.resources import JOBS
from headrace.training.job import AttemptContext, launcher_config
from headrace.training.observed import Observed, Source
from headrace.training.plan import plan
from headrace.training.stages import part_of
from headrace.training.view import Start
from training_builders import NOW, SETTINGS, stamp, training_job

NOTHING = Observed(jobs=(), pods=(), source=Source({"train.py": "print()"}, "5"))
WITH_GPU_IMAGE = replace(SETTINGS, trainer_gpu_image="headrace/trainer-gpu:1")
ONE_GPU = {"limits": {"nvidia.com/gpu": "1"}}


def planned(job, settings=SETTINGS):
    return plan(job, NOTHING, Start(), NOW, settings)


def pod_of(job, settings=SETTINGS):
    return next(body for kind, body in planned(job, settings).creates if kind == JOBS)["spec"]["template"]["spec"]


def image_of(job, settings):
    [container] = pod_of(job, settings)["containers"]
    return container["image"]


def mounts_of_shared_memory(job):
    pod = pod_of(job)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    [trainer] = [container for container in pod["containers"] if container["name"] == "trainer"]
    return [volumes[m["name"]] for m in trainer["volumeMounts"] if m["mountPath"] == "/dev/shm"]


@pytest.mark.parametrize(
    ("spec", "settings", "image"),
    [
        ({"resources": ONE_GPU}, WITH_GPU_IMAGE, "headrace/trainer-gpu:1"),
        ({"resources": {"limits": {"nvidia.com/mig-1g.10gb": 1}}}, WITH_GPU_IMAGE, "headrace/trainer-gpu:1"),
        ({"resources": ONE_GPU, "framework": "Script"}, WITH_GPU_IMAGE, "headrace/trainer-gpu:1"),
        ({"resources": ONE_GPU}, SETTINGS, "headrace/trainer:1"),
        ({"resources": {"limits": {"nvidia.com/gpu": "0", "cpu": "2"}}}, WITH_GPU_IMAGE, "headrace/trainer:1"),
        ({}, WITH_GPU_IMAGE, "headrace/trainer:1"),
        ({"resources": ONE_GPU, "image": "mine:1"}, WITH_GPU_IMAGE, "mine:1"),
        ({"resources": ONE_GPU, "source": {"image": "mine:2"}}, WITH_GPU_IMAGE, "mine:2"),
    ],
    ids=[
        "a GPU",
        "a part of one",
        "any program",
        "no such image",
        "no GPU",
        "nothing asked",
        "own image",
        "own source",
    ],
)
def test_the_image_for_gpus_is_for_jobs_with_gpus_that_name_none_of_their_own(spec, settings, image):
    assert image_of(training_job(workers=1, **spec), settings) == image


def test_an_attempt_after_an_upgrade_that_brings_the_image_for_gpus_keeps_the_one_before():
    attempt = {"number": 1, "job": "text-1", "image": "headrace/trainer:0", "startedAt": stamp(NOW)}
    status = {"state": "Restarting", "attempt": attempt, "nextAttemptAt": stamp(NOW)}
    job = training_job(status, workers=1, resources=ONE_GPU)
    assert image_of(job, WITH_GPU_IMAGE) == "headrace/trainer:0"


def test_the_launcher_knows_how_many_gpus_were_asked_for_and_what_the_strategy_is():
    limits = {"nvidia.com/gpu": "2", "nvidia.com/mig-1g.10gb": 1, "memory": "4Gi"}
    job = training_job(workers=1, strategy={"type": "Mirrored"}, resources={"limits": limits, "requests": limits})
    told = launcher_config(part_of(job), AttemptContext(1, "image"), SETTINGS)
    assert (told.gpus, told.strategy) == (3, "Mirrored")


@pytest.mark.parametrize("spec", [{"resources": ONE_GPU}, {"framework": "Script"}], ids=["GPUs", "any program"])
def test_shared_memory_is_as_large_as_the_pod_s_where_processes_or_gpus_share_it(spec):
    [volume] = mounts_of_shared_memory(training_job(workers=1, **spec))
    assert volume["emptyDir"] == {"medium": "Memory"}


def test_a_keras_script_on_cpus_keeps_the_container_s_own():
    assert mounts_of_shared_memory(training_job(workers=1)) == []


def test_the_user_s_own_volume_is_not_mounted_over():
    own = {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}
    mounts = [{"name": "dshm", "mountPath": "/dev/shm/"}]
    template = {"spec": {"volumes": [own], "containers": [{"name": "trainer", "volumeMounts": mounts}]}}
    pod = pod_of(training_job(workers=1, framework="Script", podTemplate=template))
    [trainer] = pod["containers"]
    assert [m["name"] for m in trainer["volumeMounts"] if m["mountPath"].startswith("/dev/shm")] == ["dshm"]
    assert [volume["name"] for volume in pod["volumes"] if volume["name"] == "shared-memory"] == []


@pytest.mark.parametrize("mounts", ["none", [1], {"a": "b"}, None])
def test_a_template_that_is_not_as_it_should_be_is_left_to_the_api_server(mounts):
    template = {"spec": {"containers": [{"name": "trainer", "volumeMounts": mounts}]}}
    pod_of(training_job(workers=1, framework="Script", podTemplate=template))
