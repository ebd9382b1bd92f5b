"""The objects that an attempt needs, in the order in which they are created, and those of earlier ones that are needed
no more (pure). How each looks is in `job`.
"""

from __future__ import annotations

from headrace.api.trainingjob import Attempt
from headrace.kube.plan import Delete
from headrace.kube.resources import CONFIGMAPS, JOBS, NETWORKPOLICIES, SERVICES, Object, Resource
from headrace.training.deadline import remaining_seconds
from headrace.training.gpus import image_of
from headrace.training.job import (
    AttemptContext,
    attempt_name,
    render_job,
    render_network_policy,
    render_service,
    render_source,
)
from headrace.training.view import View


def objects_of_attempt(view: View) -> tuple[tuple[Resource, Object], ...]:
    """Of the attempt in status: what its pods need comes before its Job."""
    job, part, settings, attempt = view.job, view.part, view.settings, view.status.attempt
    assert attempt is not None
    context = AttemptContext(
        number=attempt.number,
        image=attempt.image or image_of(part, settings),
        experiment_id=view.start.experiment_id,
        bucket=view.start.bucket,
        remaining_seconds=remaining_seconds(job),
    )
    objects = [(SERVICES, render_service(part, context.number)), (JOBS, render_job(part, context, settings))]
    if part.source.config_map is not None and view.observed.source is not None:
        objects.insert(0, (CONFIGMAPS, render_source(part, view.observed.source)))
    if settings.network_policies:
        objects.insert(0, (NETWORKPOLICIES, render_network_policy(job, settings)))
    return tuple(objects)


def jobs_of_old(view: View, attempt: Attempt) -> tuple[Delete, ...]:
    """Of the attempts before this one the last is kept, for its logs."""
    metadata = view.job.metadata
    kept = (attempt_name(metadata.name, attempt.number), attempt_name(metadata.name, attempt.number - 1))
    return tuple(
        Delete(JOBS, metadata.namespace, batch.name, batch.uid)
        for batch in view.observed.jobs
        if batch.name not in kept and batch.owner_uid == metadata.uid and not batch.deleting
    )
