"""Where the aliases of all models point, read once for all who ask: services at rest cost MLflow one request a slot.

Time is divided into slots, the same for everybody. The first question of a slot reads the registry, the others of that
slot are answered from what it read. So who asks at the start of each slot (`seconds_to_next`) knows of a move a slot
and a read later at the latest, however many others ask.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from headrace.inflight import PATIENCE_SECONDS, InFlight, StillWaiting
from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import TrackingError
from headrace.tracking.records import RegisteredModel
from headrace_common.tags import NAMESPACE_TAG

# Within 15 s a moved alias is to be noticed: two of them are for the reading and the pass that follows.
SLOT_SECONDS = 13.0
# For timers and slots that are rounded differently: who comes too early would be answered from the slot before.
LEEWAY_SECONDS = 0.05

log = logging.getLogger(__name__)


class AliasTarget(NamedTuple):
    """`created` tells a model from an earlier one of its name: the versions of both begin with 1."""

    version: str
    created: int


class _Reading(NamedTuple):
    """The registry as it was in a slot."""

    slot: float | None
    models: Mapping[str, RegisteredModel]


class Aliases:
    """`clock` in seconds, as the event loop's."""

    def __init__(
        self,
        client: MlflowClient,
        *,
        slot_seconds: float = SLOT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._client = client
        self._slot_seconds = slot_seconds
        self._clock = clock
        self._reads: InFlight[None, _Reading] = InFlight(patience_seconds)
        self._last = _Reading(None, {})

    async def find(self, model: str, alias: str) -> AliasTarget | None:
        """Where the alias pointed in this slot; while MLflow does not answer, in the last one that is known. None:
        nowhere that is known; why, the ledger says to who asks it.
        """
        slot = self._slot()
        with suppress(StillWaiting):
            while self._last.slot is None or self._last.slot < slot:
                self._last = await self._reads.result(None, self._read)
        found = self._last.models.get(model)
        version = found.aliases.get(alias) if found is not None else None
        return AliasTarget(version, found.created) if found is not None and version is not None else None

    def seconds_to_next(self) -> float:
        """Until the next slot has begun."""
        return self._slot_seconds - self._clock() % self._slot_seconds + LEEWAY_SECONDS

    async def close(self) -> None:
        """End a reading under way."""
        await self._reads.close()

    def _slot(self) -> float:
        return self._clock() // self._slot_seconds

    async def _read(self) -> _Reading:
        """The models that Headrace made: no version of another one is ever served."""
        slot = self._slot()
        try:
            models = {model.name: model for model in await self._client.search_registered_models(NAMESPACE_TAG)}
        except TrackingError as error:
            # Remembered for the slot like an answer: each who asks goes on to ask on its own, and tells its user.
            log.info("the aliases cannot be read: %s", error)
            models = {}
        return _Reading(slot, models)
