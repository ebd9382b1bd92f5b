"""The S3 store, as every pod that needs it is told of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Storage:
    """An empty endpoint means AWS' own, an empty region the default one."""

    endpoint: str
    region: str

    def as_json(self) -> dict[str, str]:
        """As a part of a message."""
        return {"endpoint": self.endpoint, "region": self.region}
