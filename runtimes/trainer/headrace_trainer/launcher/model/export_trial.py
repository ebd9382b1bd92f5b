"""What is said of an early trial of the export: in the log, as a tag of the run, and on /progress. The script's process
makes it; its end decides.
"""

from __future__ import annotations

from headrace_common.protocol import parts
from headrace_trainer.launcher.messages import ExportTrial
from headrace_trainer.launcher.texts import one_line

_MAX_SENTENCE = 1000
_OTHER_MODEL = "if another model is meant, name it with headrace_client.export"


def sentence(trial: ExportTrial) -> str:
    """One line: whether all formats can be made, or which cannot and why."""
    how = f"tried in {trial.seconds:.1f} s, in the middle of the training"
    if not trial.problems:
        return f"export: {', '.join(trial.formats)} can be made of model {trial.model} ({how})"
    problems = "; ".join(f"{name} cannot be made: {problem}" for name, problem in sorted(trial.problems.items()))
    told = f"export of model {trial.model} ({how}): {problems}"
    rest = f"; the training goes on; {_OTHER_MODEL}"
    return one_line(told)[: _MAX_SENTENCE - len(rest)] + rest


def told(trial: ExportTrial) -> parts.ExportTrial:
    """For /progress."""
    return parts.ExportTrial(tuple(sorted(trial.problems)), sentence(trial))
