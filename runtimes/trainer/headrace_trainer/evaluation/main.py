"""The order of things: read the rows, ask the models, measure, and leave what was found in a folder.

What somebody can correct is told to the launcher in a sentence; anything else is a fault of Headrace, with a traceback.
"""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from pathlib import Path

from headrace_common.evaluation import Task
from headrace_common.explanation import SUBJECT
from headrace_trainer.adapters.messages import Messages, milliseconds
from headrace_trainer.evaluation import said as answers_of
from headrace_trainer.evaluation.artifact.load import load
from headrace_trainer.evaluation.artifact.predict import batch_rows
from headrace_trainer.evaluation.data.read import read
from headrace_trainer.evaluation.explaining.run import Explained, explained
from headrace_trainer.evaluation.files import results
from headrace_trainer.evaluation.instructions import VARIABLE, Instructions, read_instructions
from headrace_trainer.evaluation.judgement import judge
from headrace_trainer.evaluation.progress import Progress
from headrace_trainer.evaluation.refusal import Refusal, of_baseline
from headrace_trainer.evaluation.rows import Items, Rows, items_of, rows_of
from headrace_trainer.evaluation.said import Asking, Said, aligned

_DESCRIPTOR = "HEADRACE_CHILD_FD"


def main() -> int:
    """As the launcher starts it."""
    descriptor = os.environ.get(_DESCRIPTOR)
    messages = Messages(int(descriptor) if descriptor else None)
    try:
        evaluate(read_instructions(Path(os.environ[VARIABLE])), messages)
    except Refusal as refusal:
        print(f"headrace: {refusal.message}. {refusal.hint}", flush=True)
        told = {"message": refusal.message, "hint": refusal.hint, "reason": str(refusal.reason)}
        messages.send("refused", time=milliseconds(), **told)
        messages.flush()
        return 2
    messages.flush()
    return 0


def evaluate(instructions: Instructions, messages: Messages) -> None:
    """Leaves what was found in `instructions.results`. Raises Refusal."""
    wanted = instructions.evaluate
    if wanted.data is None:
        raise RuntimeError("a task of Headrace's own has data")
    names = {wanted.data.group, *wanted.slices, *wanted.sensitive}
    rows = rows_of(read(instructions.dataset, wanted.data.path, wanted.data.dataset, names), wanted)
    items = items_of(rows, wanted.task)
    progress = Progress(messages, rows.count, 1 if instructions.baseline is None else 2)
    candidate, format = _asked(instructions, instructions.model, rows, items, progress, is_baseline=False)
    baseline: Said | None = None
    if instructions.baseline is not None:
        try:
            baseline, _ = _asked(instructions, instructions.baseline, rows, items, progress, is_baseline=True)
        except Refusal as refusal:
            raise of_baseline(refusal) from refusal
    _check_sensitive(instructions, candidate)
    own = candidate
    if baseline is not None and wanted.task is Task.CLASSIFICATION:
        candidate, baseline = _of_same_classes(candidate, baseline, rows, wanted.data.positive)
    found = judge(
        wanted.task,
        items,
        candidate.answers,
        None if baseline is None else baseline.answers,
        wanted.comparisons,
        instructions.seed,
    )
    found = replace(found, remarks=(*candidate.remarks, *left_out(rows), *found.remarks))
    if found.remarks:
        messages.warn("evaluation", " ".join(found.remarks))
    left = results.leave(instructions, rows, items, candidate, baseline, found, format)
    # Whatever an explanation does to this process, the model was judged.
    explanation = _explained(instructions, rows, own, messages)
    if explanation is not None:
        results.explain(instructions, rows, left, explanation)


def _explained(instructions: Instructions, rows: Rows, said: Said, messages: Messages) -> Explained | str | None:
    """Of the model's own classes, as it was asked alone."""
    wanted, data, folder = instructions.evaluate, instructions.evaluate.data, instructions.model
    if wanted.explain is None or data is None:
        return None
    print(f"headrace: up to {wanted.explain.samples} answers are explained", flush=True)

    def asking() -> Asking:
        return Asking(load(folder, wanted.format), data, rows, lambda asked: None)

    found = explained(wanted.task, wanted.explain, asking, said, rows, instructions.seed)
    problems = (found,) if isinstance(found, str) else found.problems
    if problems:
        messages.warn(SUBJECT, "; ".join(problems))
    return found


def _asked(
    instructions: Instructions, folder: Path, rows: Rows, items: Items, progress: Progress, *, is_baseline: bool
) -> tuple[Said, str]:
    """What the model in this folder says, and in which format it was asked."""
    task, data = instructions.evaluate.task, instructions.evaluate.data
    if data is None:
        raise RuntimeError("a task of Headrace's own has data")
    artifact = load(folder, instructions.evaluate.format)
    asking = Asking(artifact, data, rows, progress.of_model())
    print(
        f"headrace: {rows.count} rows of {rows.table.where} go to {'the baseline' if is_baseline else 'the model'} "
        f"({artifact.format}), {batch_rows(artifact, asking.feed)} at once",
        flush=True,
    )
    if task is Task.CLASSIFICATION:
        said = answers_of.classified(asking, data.positive, may_lack_some=is_baseline)
    else:
        said = answers_of.other(task, asking, items)
    print(f"headrace: output {said.output} has {said.kind}", flush=True)
    del asking
    gc.collect()  # the other model needs the memory
    return said, artifact.format


def left_out(rows: Rows) -> list[str]:
    """What is to be said of columns that have too many values."""
    asked = (("measured by themselves", rows.slices), ("compared with one another", rows.sensitive))
    return [
        f"Of the values of {name} {len(values.names)} are {done}, and {values.left_out} rarer ones not."
        for done, columns in asked
        for name, values in columns.items()
        if values.left_out
    ]


def _of_same_classes(candidate: Said, baseline: Said, rows: Rows, positive: str) -> tuple[Said, Said]:
    names = (*candidate.classes, *(name for name in baseline.classes if name not in candidate.classes))
    positive = positive or candidate.classes[-1]
    known = len(candidate.classes)
    return aligned(candidate, names, rows, positive, known), aligned(baseline, names, rows, positive, known)


def _check_sensitive(instructions: Instructions, candidate: Said) -> None:
    wanted = instructions.evaluate
    if not wanted.sensitive:
        return
    if wanted.task is not Task.CLASSIFICATION:
        raise Refusal(
            f"evaluate.sensitive: fairness is measured of task Classification, not of {wanted.task}",
            "Leave evaluate.sensitive out, or name the columns in evaluate.slices.",
        )
    if wanted.data is not None and not wanted.data.positive and len(candidate.classes) > 2:
        raise Refusal(
            f"evaluate.sensitive: the model has {len(candidate.classes)} classes, and nothing says which one is the "
            "advantage that groups are to have alike",
            "Name it in evaluate.data.positive.",
        )
