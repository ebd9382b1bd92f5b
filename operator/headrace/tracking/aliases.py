"""Where the aliases of all models point, read once for all who ask: services at rest cost MLflow one request a slot.

Time is divided into slots, the same for everybody. The first question of a slot reads the registry, the others of that
slot are answered from what it read. So who asks at the start of each slot (`seconds_to_next`) knows of a move a slot
and a read later at the latest, however many others ask.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from headrace.tracking.client import MlflowClient
from headrace.tracking.errors import TrackingError
from headrace.tracking.records import NAMESPACE_TAG, RegisteredModel

# Within 15 s a moved alias is to be noticed: two of them are for the reading and the pass that follows.
SLOT_SECONDS = 13.0
# For timers and slots that are rounded differently: who comes too early would be answered from the slot before.
LEEWAY_SECONDS = 0.05

log = logging.getLogger(__name__)


class AliasTarget(NamedTuple):
    """`created` tells a model from an earlier one of its name: the versions of both begin with 1."""

    version: str
    created: int


class Aliases:
    """`clock` in seconds, as the event loop's."""

    def __init__(
        self, client: MlflowClient, *, slot_seconds: float = SLOT_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._slot_seconds = slot_seconds
        self._clock = clock
        self._reading = asyncio.Lock()
        self._read_in: float | None = None
        self._models: Mapping[str, RegisteredModel] = {}

    async def find(self, model: str, alias: str) -> AliasTarget | None:
        """Where the alias pointed in this slot. None: nowhere that is known; why, the ledger says to who asks it."""
        async with self._reading:
            slot = self._clock() // self._slot_seconds
            if slot != self._read_in:
                self._models = await self._read()
                self._read_in = slot
        found = self._models.get(model)
        version = found.aliases.get(alias) if found is not None else None
        return AliasTarget(version, found.created) if found is not None and version is not None else None

    def seconds_to_next(self) -> float:
        """Until the next slot has begun."""
        return self._slot_seconds - self._clock() % self._slot_seconds + LEEWAY_SECONDS

    async def _read(self) -> Mapping[str, RegisteredModel]:
        """The models that Headrace made: no version of another one is ever served."""
        try:
            return {model.name: model for model in await self._client.search_registered_models(NAMESPACE_TAG)}
        except TrackingError as error:
            # Remembered for the slot like an answer: each who asks goes on to ask on its own, and tells its user.
            log.info("the aliases cannot be read: %s", error)
            return {}
