"""Explains rows one after the other, so that what is there when the time is over is whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from headrace_explain import gradients, occlusion, shapley
from headrace_explain.asking import Asking, TimeIsOver, picked, rows_of
from headrace_explain.baseline import baseline
from headrace_explain.choose import choose, is_text, text_refusal
from headrace_explain.kind import Array, DType, Explanation, Feed, Gradient, Method, NotExplainable, OutOfTime, Predict

Rows = dict[str, Array]


def explain(
    predict: Predict,
    rows: Feed,
    background: Feed,
    *,
    method: Method,
    output: str | None = None,
    target: int | None = None,
    budget: int = 512,
    seed: int = 0,
    deadline: float | None = None,
    gradient: Gradient | None = None,
    pad: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Explanation:
    """How much each value of each row adds to the answer.

    `background` are rows of the model's usual input, what "nothing is known" is taken from: a row is compared with
    them. `output` is the model's first one that has broken numbers, `target` the class with the row's highest value,
    where they are not given. `budget` bounds how many rows the model is asked for to explain one; beside these each row
    and each row of the background is asked once. `deadline` is in seconds from now, looked at between two batches.
    `gradient` is needed for INTEGRATED_GRADIENTS alone. `pad` is the token that stands for none. The same seed gives
    the same numbers. Raises NotExplainable, and whatever `predict` and `gradient` raise.
    """
    ours, others = _arrays(rows, background)
    if budget < 1:
        raise NotExplainable(f"the budget is {budget}: it has to be 1 at least")
    method = _method(method, ours, gradient)
    asking = Asking(predict, None if deadline is None else clock() + deadline, clock, output or "")
    try:
        answers = asking.outputs(ours)
        targets = _targets(answers, target, asking.output)
        predictions = picked(answers, targets)
        way = _WAYS[method](_Question(asking, ours, others, targets, predictions, budget, seed, gradient, pad))
    except TimeIsOver:
        raise _too_late(deadline) from None
    found: list[dict[str, Array]] = []
    try:
        for number in range(len(predictions)):
            found.append(way.of_row(number, {name: values[number : number + 1] for name, values in ours.items()}))
    except TimeIsOver:
        if not found:
            raise _too_late(deadline) from None
    done = len(found)
    attributions = {name: np.stack([one[name] for one in found]) for name in ours}
    total = sum(values.reshape(done, -1).sum(axis=1) for values in attributions.values())
    return Explanation(
        method=method,
        output=asking.output,
        target=targets[:done],
        prediction=predictions[:done],
        base=way.base[:done],
        attributions=attributions,
        gap=None if method is Method.OCCLUSION else predictions[:done] - way.base[:done] - total,
        evaluations=asking.evaluations,
        background=way.background,
        complete=done == len(predictions),
    )


@dataclass(frozen=True)
class _Question:
    """What is asked of the model, and with what: what the methods choose from."""

    asking: Asking
    rows: Rows
    background: Rows
    targets: Array
    predictions: Array
    budget: int
    seed: int
    gradient: Gradient | None
    pad: int


@dataclass(frozen=True)
class _Way:
    """How one method answers: the base of each row, how many rows of the background it needs, and a row's values."""

    base: Array
    background: int
    of_row: Callable[[int, Rows], dict[str, Array]]


def _shapley(of: _Question) -> _Way:
    there = rows_of(of.background)
    walks = shapley.plan(shapley.features_of(_shapes(of.rows)), there, of.budget)
    chosen = np.sort(np.random.RandomState(of.seed).permutation(there)[: walks.background])
    used = {name: values[chosen] for name, values in of.background.items()}
    answers = of.asking.outputs(used)

    def of_row(number: int, row: Rows) -> dict[str, Array]:
        target = int(of.targets[number])
        # Anew for each row: what is said of it does not hang on which others are asked for.
        random = np.random.RandomState(of.seed)
        ends = float(of.predictions[number]), answers[:, target]
        return shapley.attributions(of.asking, row, used, ends, target, walks, random)

    return _Way(answers.mean(axis=0)[of.targets], walks.background, of_row)


def _occlusion(of: _Question) -> _Way:
    patches = occlusion.plan(_shapes(of.rows), _dtypes(of.rows), of.budget)
    empty, base = _empty(of)

    def of_row(number: int, row: Rows) -> dict[str, Array]:
        top, target = float(of.predictions[number]), int(of.targets[number])
        return occlusion.attributions(of.asking, row, empty, top, target, patches)

    return _Way(base, rows_of(of.background), of_row)


def _integrated(of: _Question) -> _Way:
    if of.gradient is None:
        raise NotExplainable("the model has no gradients: use the method Auto, Shapley or Occlusion")
    gradients.check(_dtypes(of.rows))
    gradient, count = of.gradient, gradients.steps(of.budget)
    empty, base = _empty(of)

    def of_row(number: int, row: Rows) -> dict[str, Array]:
        return gradients.attributions(of.asking, gradient, row, empty, int(of.targets[number]), count)

    return _Way(base, rows_of(of.background), of_row)


def _empty(of: _Question) -> tuple[Rows, Array]:
    """The baseline, and what the model says of it in terms of each row's target."""
    empty = baseline(of.background, of.pad)
    return empty, of.asking.outputs(empty)[0][of.targets]


_WAYS: Mapping[Method, Callable[[_Question], _Way]] = {
    Method.SHAPLEY: _shapley,
    Method.OCCLUSION: _occlusion,
    Method.INTEGRATED_GRADIENTS: _integrated,
}


def _arrays(rows: Feed, background: Feed) -> tuple[Rows, Rows]:
    ours, others = ({name: np.asarray(values) for name, values in of.items()} for of in (rows, background))
    if not ours:
        raise NotExplainable("there is no input to explain")
    if set(ours) != set(others):
        raise NotExplainable(f"the rows have the inputs {', '.join(ours)}, and the background {', '.join(others)}")
    for of, told in ((ours, "rows"), (others, "background")):
        if any(not values.ndim for values in of.values()) or len({len(values) for values in of.values()}) != 1:
            raise NotExplainable(f"the {told}: the inputs have not as many rows each")
        if not rows_of(of):
            raise NotExplainable(f"the {told}: there is no row")
    for name, values in ours.items():
        if values.shape[1:] != others[name].shape[1:]:
            raise NotExplainable(
                f"the input {name} has the shape {list(values.shape[1:])} a row, and {list(others[name].shape[1:])} "
                "in the background"
            )
    # A model takes its own type alone, and rows are mixed of both.
    return ours, {
        name: others[name] if is_text(values.dtype) else others[name].astype(values.dtype)
        for name, values in ours.items()
    }


def _method(method: Method, ours: Rows, gradient: Gradient | None) -> Method:
    shapes, dtypes = _shapes(ours), _dtypes(ours)
    if method is Method.AUTO:
        return choose(shapes, dtypes, differentiable=gradient is not None)
    texts = [name for name, dtype in dtypes.items() if is_text(dtype)]
    if texts and (method is not Method.SHAPLEY or len(texts) == len(ours)):
        raise NotExplainable(text_refusal(texts))
    return method


def _targets(answers: Array, target: int | None, output: str) -> Array:
    if target is None:
        return np.asarray(answers.argmax(axis=1))
    if not 0 <= target < answers.shape[1]:
        raise NotExplainable(
            f"the target is {target}, and the output {output} has {answers.shape[1]} numbers a row, from 0 on"
        )
    return np.full(len(answers), target)


def _too_late(deadline: float | None) -> OutOfTime:
    return OutOfTime(f"not one row was explained within {deadline:g} s: allow more time, or a smaller budget")


def _shapes(ours: Rows) -> dict[str, tuple[int, ...]]:
    return {name: values.shape[1:] for name, values in ours.items()}


def _dtypes(ours: Rows) -> dict[str, DType]:
    return {name: values.dtype for name, values in ours.items()}
