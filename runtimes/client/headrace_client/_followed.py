"""A job of `framework: Keras`: there the script's own process is followed, and who follows it answers here.

Processes that the script starts are not followed; they talk to the launcher as any program does.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol


class Follower(Protocol):
    """Who follows this process."""

    def take(self, model: Any, format: str | None) -> None:
        """The model that is meant, in what format."""

    def text(self, model: Any, tokenizer: str, config: dict[str, Any], context: int | None) -> None:
        """The model that writes text, with the content of tokenizer.json and tokenizer_config.json."""

    def keeps_own(self) -> None:
        """The script keeps its state in checkpoints of its own: nobody else keeps any from here on."""

    def own_checkpoint(self) -> Path | None:
        """What an earlier attempt kept of its own."""

    def should_stop(self) -> bool:
        """Whether the pod is being stopped."""

    def resumed_step(self) -> int:
        """The step at which the script's own loop goes on."""

    def steps(self, start: int, stop: int) -> Iterable[int]:
        """The iterations of a loop of the script's own, from the one on that comes next."""


follower: Follower | None = None
