"""Which GPUs a job asks for, and what its pods need for them (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.api.common import Resources
from headrace.api.frameworks import FRAMEWORKS
from headrace.api.trainingjob import TrainingJobSpec
from headrace.settings import Settings
from headrace.training.observed import TRAINER_CONTAINER
from headrace.training.stages import Part

_VENDOR = "nvidia.com/"  # gpu, and mig-PROFILE
SHARED_MEMORY = "/dev/shm"


def gpus_of(resources: Resources) -> int:
    """How many devices each pod gets, parts of a GPU (MIG) counted as such."""
    asked = {**resources.requests, **resources.limits}
    return sum(int(count) for name, count in asked.items() if name.startswith(_VENDOR) and str(count).isdigit())


def image_of(part: Part, settings: Settings) -> str:
    """The image that the job names, else the release's: Spark's for Spark, the one for GPUs where GPUs are
    asked for and there is one."""
    own = part.source.image or part.image
    if own:
        return own
    if part.spark is not None:
        return settings.spark_image
    return (gpus_of(part.resources) > 0 and settings.trainer_gpu_image) or settings.trainer_image


def needs_shared_memory(part: Part) -> bool:
    """Whether the 64 MiB that a container has in /dev/shm may be too little: NCCL passes data between the GPUs of a pod
    there, and PyTorch's DataLoader between processes. Not where the user's own volume is mounted in its place.
    """
    if gpus_of(part.resources) == 0 and not FRAMEWORKS[part.framework].shares_memory:
        return False
    return SHARED_MEMORY not in _own_mounts(part.job.spec)


def _own_mounts(spec: TrainingJobSpec) -> set[str]:
    """The paths at which podTemplate, which is free-form, mounts something in the trainer."""
    containers = (spec.pod_template.get("spec") or {}).get("containers") or []
    mounts = [container.get("volumeMounts") for container in containers if container.get("name") == TRAINER_CONTAINER]
    return {
        str(mount.get("mountPath", "")).rstrip("/")
        for listed in mounts
        if isinstance(listed, list)
        for mount in listed
        if isinstance(mount, Mapping)
    }
