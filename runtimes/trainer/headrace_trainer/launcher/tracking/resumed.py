"""What a run's tag says of a resume (pure). Fits and attempts count from 1 there, as in kubectl."""

from __future__ import annotations

from headrace_trainer.launcher.messages import Resume
from headrace_trainer.launcher.texts import one_line

_NOTHING = "there was nothing to compare"


def sentence(attempt: int, resume: Resume, *, has_ended: bool = False) -> str:
    """`attempt` is the one that the checkpoint is from; with `has_ended` nothing more will be compared."""
    how = {True: "exact", False: "not exact", None: "not compared" if has_ended else "not compared yet"}[resume.exact]
    why = one_line(resume.message).removeprefix(f"{how}: ")
    if has_ended and resume.exact is None and not why:
        why = _NOTHING
    return f"{how}: from step {resume.step} of fit {resume.fit + 1} of attempt {attempt}. {why}".strip()
