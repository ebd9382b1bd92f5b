"""Which promotion aliases are owned by a ModelService that is still there."""

from __future__ import annotations

from headrace.kube.client import KubeClient
from headrace.kube.errors import Forbidden
from headrace.kube.resources import MODELSERVICES


class PromotionOwners:
    """Asks the API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def has(self, owner: str, alias: str) -> bool:
        """Whether the ModelService NAMESPACE/NAME exists and promotes to `alias`; where one may not look: yes."""
        namespace, _, name = owner.partition("/")
        try:
            live = await self._client.get(MODELSERVICES, namespace, name)
        except Forbidden:
            return True
        promotion = ((live or {}).get("spec", {}).get("rollout") or {}).get("promotion") or {}
        return bool(promotion.get("alias") == alias)
