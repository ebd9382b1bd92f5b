"""Explains, within its time, and says what it could not: nothing that happens here ends the evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from headrace_common.evaluation import Task
from headrace_common.explanation import Method
from headrace_common.protocol.evaluate import Explain
from headrace_explain.asking import TimeIsOver
from headrace_explain.choose import choose as choose_method
from headrace_explain.explain import explain
from headrace_explain.kind import Explanation, Gradient, NotExplainable, OutOfTime
from headrace_trainer.evaluation.artifact.kind import Array
from headrace_trainer.evaluation.explaining.features import Feature, features, is_a_table
from headrace_trainer.evaluation.explaining.importance import Importance, importance
from headrace_trainer.evaluation.explaining.model import Model
from headrace_trainer.evaluation.explaining.sample import Chosen, background, choose
from headrace_trainer.evaluation.refusal import Refusal, words_of
from headrace_trainer.evaluation.rows import Rows
from headrace_trainer.evaluation.said import Asking, Said


@dataclass(frozen=True)
class Explained:
    """`of` has the rows of `chosen`, as many as the time was enough for; None where no row could be explained.
    `feed` are these rows as they went in. `problems` say what is missing, and `remarks` what else somebody should know.
    """

    wanted: Explain
    model: Model
    seed: int
    chosen: tuple[Chosen, ...] = ()
    of: Explanation | None = None
    feed: dict[str, Array] | None = None
    features: tuple[Feature, ...] = ()
    importance: Importance | None = None
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def explained(
    task: Task,
    wanted: Explain,
    asking: Callable[[], Asking],
    said: Said,
    rows: Rows,
    seed: int,
    clock: Callable[[], float] = time.monotonic,
) -> Explained | str:
    """What was found, or why nothing was. `asking` loads the model once more."""
    until = clock() + wanted.deadline_seconds
    try:
        model = Model(asking(), said)
        model.check()
        found = Explained(wanted, model, seed, features=tuple(features(model.asking.feed, said.inputs)))
        if wanted.importance:
            half = until - wanted.deadline_seconds / 2
            found = _with_importance(found, task, lambda: clock() > half)
        return _with_rows(found, rows, until, clock)
    except NotExplainable as error:
        return error.reason
    except Refusal as refusal:
        return refusal.message
    except Exception as error:  # noqa: BLE001 - the model was judged: whatever this is, it is no reason to fail
        return f"the model cannot be explained: {words_of(error)}"


def _with_importance(found: Explained, task: Task, is_over: Callable[[], bool]) -> Explained:
    model = found.model
    if not found.features or task not in (Task.CLASSIFICATION, Task.REGRESSION):
        said = "of columns of a table, with task Classification or Regression"
        return replace(found, remarks=(*found.remarks, f"Permutation importance is measured {said}."))

    def look_at_clock() -> None:
        if is_over():
            raise TimeIsOver

    try:
        of = importance(
            task,
            model.said.answers,
            model.said.kind,
            model.asking.feed,
            found.features,
            lambda feed: model.values(dict(feed), look_at_clock),
            found.seed,
            is_over,
        )
        if of is None or of.complete:
            return replace(found, importance=of)
    except TimeIsOver:
        of = None
    done = 0 if of is None else len(of.features)
    late = f"half of evaluate.explain.deadline was over when {done} of {len(found.features)} columns had "
    problem = f"{late}their permutation importance: allow more time"
    return replace(found, importance=of, problems=(*found.problems, problem))


def _with_rows(found: Explained, rows: Rows, until: float, clock: Callable[[], float]) -> Explained:
    wanted, model, feed = found.wanted, found.model, found.model.asking.feed
    chosen = choose(model.said.answers, rows.count, wanted.samples, found.seed)
    others = background(rows.count, wanted.background, found.seed)
    asked = {name: values[[one.row for one in chosen]] for name, values in feed.items()}
    try:
        method, gradient, remark = _method(wanted.method, model)
        of = explain(
            model.outputs,
            asked,
            {name: values[others] for name, values in feed.items()},
            method=method,
            output=model.output,
            target=model.target(wanted.target),
            budget=wanted.budget,
            seed=found.seed,
            deadline=max(until - clock(), 0.0),
            gradient=gradient,
            clock=clock,
        )
    except OutOfTime:
        late = f"evaluate.explain.deadline ({wanted.deadline_seconds} s) was over before one row was explained"
        return _without_rows(found, f"{late}: allow more time, or a smaller budget")
    except NotExplainable as error:
        return _without_rows(found, error.reason)
    except Refusal as refusal:
        return _without_rows(found, refusal.message)
    problems, remarks = list(found.problems), [*found.remarks, *filter(None, [remark])]
    if not of.complete:
        problems.append(
            f"evaluate.explain.deadline ({wanted.deadline_seconds} s) was over when {of.rows} of {len(chosen)} rows "
            "were explained: allow more time, fewer samples, or a smaller budget"
        )
    if of.background < len(others):
        remarks.append(f"The budget of {wanted.budget} is enough for {of.background} of {len(others)} background rows.")
    return replace(
        found,
        chosen=tuple(chosen[: of.rows]),
        of=of,
        feed={name: values[: of.rows] for name, values in asked.items()},
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


def _without_rows(found: Explained, reason: str) -> Explained:
    """The importance of columns that was found stands by itself."""
    if found.importance is None:
        raise NotExplainable(reason)
    return replace(found, problems=(*found.problems, reason))


def _method(wanted: Method, model: Model) -> tuple[Method, Gradient | None, str]:
    """The method, the gradient that it needs, and what is to be said where it is not the one that was asked for."""
    feed = model.asking.feed
    is_table = is_a_table(feed, model.said.inputs)
    if wanted is Method.AUTO and is_table:
        return Method.SHAPLEY, None, ""
    if wanted not in (Method.AUTO, Method.INTEGRATED_GRADIENTS):
        return wanted, None, ""
    gradient, lacks = model.gradient()
    if gradient is not None:
        return wanted, gradient, ""
    shapes = {name: values.shape[1:] for name, values in feed.items()}
    dtypes = {name: values.dtype for name, values in feed.items()}
    method = Method.SHAPLEY if is_table else choose_method(shapes, dtypes, differentiable=False)
    is_said = wanted is Method.INTEGRATED_GRADIENTS or model.asking.artifact.gradient is not None
    return method, None, f"{method} is used in place of integrated gradients: {lacks}." if is_said else ""
