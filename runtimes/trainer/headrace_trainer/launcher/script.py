"""What is known of the script's process, from its messages and its end. Owned by the main thread."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace_trainer.launcher.messages import Ambiguous, Chosen, Exported, Refused, ScriptException, Trained


@dataclass
class Script:
    """One run of it."""

    exit_code: int | None = None
    has_come_to_its_end: bool = False
    trained: Trained | None = None
    steps_seen: int = 0
    exception: ScriptException | None = None
    refused: Refused | None = None
    had_ended: bool = False  # before it was told to stop: what remains is to deliver
    chosen: Chosen | None = None
    ambiguous: Ambiguous | None = None
    exported: Exported | None = None
    export_problems: dict[str, str] = field(default_factory=dict)  # by format
