"""HEADRACE_CONFIG as the launcher takes it: what cannot be understood is a failure of this attempt, with what to do."""

from __future__ import annotations

from headrace_common.protocol.config import Config, parse_config
from headrace_common.protocol.fields import CannotBeDone, NotUnderstood, OtherProtocol
from headrace_trainer.launcher.failures.judge import Failed, bad_config

_HINTS: tuple[tuple[type[NotUnderstood], str], ...] = (
    (OtherProtocol, "Use the trainer image that belongs to the operator's release."),
    (CannotBeDone, "Correct the TrainingJob's spec."),
)


def read_instructions(text: str) -> Config:
    """The configuration in `text`. Raises Failed (BadConfig) with the place and the fault."""
    try:
        return parse_config(text)
    except NotUnderstood as error:
        hint = next((hint for kind, hint in _HINTS if isinstance(error, kind)), None)
        raise Failed(bad_config(str(error)) if hint is None else bad_config(str(error), hint)) from error
