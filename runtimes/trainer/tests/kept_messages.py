"""The messages of an adapter that runs in the test's own process."""

from __future__ import annotations

from typing import Any

from headrace_trainer.adapters.messages import Messages


class Kept(Messages):
    """Messages that nobody reads until the end."""

    def __init__(self) -> None:
        super().__init__(None)
        self.kept: list[dict[str, Any]] = []

    def send(self, message_type: str, /, **fields: Any) -> None:
        self.kept.append({"type": message_type, **fields})
