"""What a registered version carries of its model and of its evaluation: tags, and a description for whoever looks at
it (pure).
"""

from __future__ import annotations

import json

from headrace.api.trainingjob import GateCheck
from headrace.markdown import as_text
from headrace.tracking.records import EVALUATION_FORMAT_TAG, EVALUATION_RUN_TAG, EVALUATION_TAG, Notes, Run
from headrace.training.evaluation_gates import called, is_of_evaluation
from headrace.training.judging import Judgement
from headrace_common import signature
from headrace_common.evaluation import OF_JOB
from headrace_common.tags import BASELINE_VERSION_TAG, DESCRIPTION_TAG, SIGNATURE_TAG

_MAX_DESCRIPTION = 4900  # characters; MLflow's column has 5000


def notes_of(judged: Judgement) -> Notes:
    """Of a version of this model; nothing where nothing has evaluated it."""
    evaluation, known = judged.evaluation, judged.job.status.evaluation
    if evaluation is None or known is None:
        return Notes()
    measured = {name: value for name, value in judged.metrics.items() if name.startswith(OF_JOB)}
    tags = {EVALUATION_RUN_TAG: evaluation.id, EVALUATION_TAG: json.dumps(measured, sort_keys=True)}
    if known.format is not None:
        tags[EVALUATION_FORMAT_TAG] = known.format
    if known.baseline is not None:
        tags[BASELINE_VERSION_TAG] = known.baseline.version
    card = evaluation.tags.get(DESCRIPTION_TAG, "").strip()
    description = card or _summary(judged, known.samples)
    return Notes(tags, description[:_MAX_DESCRIPTION])


def described(run: Run) -> dict[str, str]:
    """The model's inputs and outputs, as far as its launcher has told them."""
    found = signature.parse(run.tags.get(SIGNATURE_TAG, ""))
    return {} if found is None else {SIGNATURE_TAG: found.as_text()}


def _summary(judged: Judgement, samples: int | None) -> str:
    """Where the launcher has left no card."""
    checks = judged.gate.checks if judged.gate else ()
    lines = [f"Evaluated on {samples} rows." if samples else "Evaluated by a program of its team."]
    lines += [f"- {_line(check)}" for check in checks if is_of_evaluation(check)]
    return "\n".join(lines)


def _line(check: GateCheck) -> str:
    beside = f" (baseline: {check.baseline})" if check.baseline is not None else ""
    return f"{as_text(called(check))}: {check.value}{beside}"
