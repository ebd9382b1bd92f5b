"""Services at rest: what was found when a pass had nothing to do, and the one question whether it still holds.

Everything in the cluster that a plan depends on is watched, and a change wakes the service; only what its model
resolves to has to be asked for. A pass that is due to its timer alone asks that, and does nothing more while the answer
is the same. What a watch misses, the full pass of the sweep finds; and a rest ends by itself after `REST_LIMIT`, also
that of a service whose deletion nobody told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace.api.modelservice import ModelService, ModelSource
from headrace.kube.client import KubeClient
from headrace.kube.keys import Key
from headrace.kube.plan import Plan
from headrace.kube.resources import Object
from headrace.serving.observed import Observed
from headrace.serving.plan import POLL_STEADY
from headrace.serving.resolve import NotResolved, of_training_job
from headrace.serving.revision import Artifact
from headrace.tracking.aliases import Aliases, AliasTarget
from headrace.tracking.ledger import model_name

REST_LIMIT = timedelta(minutes=10)  # twice the sweep's interval


def is_at_rest(service: ModelService, live_status: Object | None, observed: Observed, planned: Plan) -> bool:
    """Whether the pass found all as it should be: nothing to write, to tell, or to wait for but a new version."""
    status = service.status
    to_do = planned.creates or planned.deletes or planned.patches or planned.events or planned.status != live_status
    to_tell = status.pending_outcomes or (status.promotion is not None and status.promotion.pending_version is not None)
    # The route that is in the way belongs to another service: no event tells this one when it goes.
    resolved = observed.artifact is not None and not observed.route_conflict
    return planned.requeue_after == POLL_STEADY and resolved and not to_do and not to_tell


@dataclass(frozen=True)
class _Rest:
    """`target` is where the alias pointed that is followed; None: none is."""

    source: ModelSource
    artifact: Artifact
    target: AliasTarget | None
    until: datetime


class Rests:
    """The services at rest, by key. Without MLflow `aliases` is None."""

    def __init__(self, client: KubeClient, aliases: Aliases | None) -> None:
        self._client = client
        self._aliases = aliases
        self._rests: dict[Key, _Rest] = {}

    def __len__(self) -> int:
        return len(self._rests)

    async def begin(self, key: Key, source: ModelSource, artifact: Artifact, now: datetime) -> float:
        """Remember what a full pass found; seconds until the question."""
        target = await self._target(key, source)
        if _follows_alias(source) and (target is None or target.version != artifact.version):
            return POLL_STEADY  # not to be answered for all together: a full pass again
        self._rests[key] = _Rest(source, artifact, target, now + REST_LIMIT)
        return self._pause(source)

    async def holds(self, key: Key, now: datetime) -> float | None:
        """Seconds until the next question, when the model is still the same; None: a full pass is needed."""
        rest = self._rests.get(key)
        if rest is None or now >= rest.until or not await self._is_same(key, rest):
            return None
        return self._pause(rest.source)

    async def close(self) -> None:
        """End what is under way."""
        if self._aliases is not None:
            await self._aliases.close()

    def end(self, key: Key) -> None:
        self._rests.pop(key, None)

    async def _is_same(self, key: Key, rest: _Rest) -> bool:
        if rest.source.training_job is not None:
            try:
                return (
                    await of_training_job(key.namespace, rest.source.training_job.name, self._client) == rest.artifact
                )
            except NotResolved:
                return False
        # A version and a uri cannot move.
        return await self._target(key, rest.source) == rest.target

    async def _target(self, key: Key, source: ModelSource) -> AliasTarget | None:
        registry = source.registry
        if registry is None or registry.alias is None or self._aliases is None:
            return None
        return await self._aliases.find(model_name(key.namespace, registry.name), registry.alias)

    def _pause(self, source: ModelSource) -> float:
        return self._aliases.seconds_to_next() if self._aliases and _follows_alias(source) else POLL_STEADY


def _follows_alias(source: ModelSource) -> bool:
    return source.registry is not None and source.registry.alias is not None
