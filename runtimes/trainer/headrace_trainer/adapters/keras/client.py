"""Answers headrace_client in a script that Keras is followed in."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

from headrace_trainer.adapters.session import Session


class Answers:
    """headrace_client's Follower."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._asks_whether_to_stop = False

    def take(self, model: object, format: str | None) -> None:
        """Raises what naming.name_model raises."""
        importlib.import_module("keras")  # its import puts the hooks in, which the next one needs whole
        from headrace_trainer.adapters.keras.models import naming

        naming.name_model(self._session, model, format)

    def text(self, model: object, tokenizer: str, config: dict[str, object], context: int | None) -> None:
        """Raises what name_text raises."""
        importlib.import_module("keras")
        from headrace_trainer.adapters.keras.export.text.named import name_text

        name_text(self._session, model, tokenizer, config, context)

    def keeps_own(self) -> None:
        """From here on no other checkpoints are taken."""
        self._session.keeps_own = True
        self._leave_the_end()

    def own_checkpoint(self) -> Path | None:
        """The folder to go on from, where the script has filled it."""
        settings = self._session.settings
        return settings.resume_directory if self._session.checkpoint_is_own else None

    def should_stop(self) -> bool:
        """Whether SIGTERM has come."""
        self._asks_whether_to_stop = True
        self._leave_the_end()
        if self._session.stop.is_requested and not self._session.stop.is_left_to_script:
            self._session.loop.save_now()
        return self._session.stop.is_requested

    def resumed_step(self) -> int:
        """Of the next loop of the script's own; 0 where Keras is not followed."""
        importlib.import_module("keras")
        return self._session.loop.resumed_step()

    def steps(self, start: int, stop: int) -> Iterable[int]:
        """The iterations of a loop of the script's own, from where it goes on."""
        importlib.import_module("keras")
        return self._session.loop.steps(start, stop)

    def _leave_the_end(self) -> None:
        """What such a script wants to keep, only it can keep."""
        self._session.stop.is_left_to_script = self._asks_whether_to_stop and self._session.keeps_own
