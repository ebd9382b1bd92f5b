"""Requests that wait together are computed together, and each gets the answer that it gets alone.

Whatever the model does with its rows, and whoever else asks.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from serving_fuzz import examples

from headrace_onnxruntime import engine as engines
from headrace_onnxruntime.batching import Batcher, BatchRun
from headrace_onnxruntime.engine import Array, Engine, EngineError, Feed
from headrace_onnxruntime.warmup import warm_up

# What a model may do with its rows `t`, the second input `b` (of any rows) and the third one `c` (of a fixed number).
STEPS: Mapping[str, Sequence[tuple[str, list[str], dict[str, Any]]]] = {
    "dense": [("MatMul", ["t", "W"], {})],
    "broadcast": [("Add", ["t", "b"], {})],
    "fixed": [("Add", ["t", "c"], {})],
    "stack": [("Concat", ["t", "b"], {"axis": 0})],
    "look around": [("ReduceSum", ["t", "first"], {"keepdims": 1}), ("Add", ["t", "_"], {})],
    "turn around": [("Slice", ["t", "minus one", "least", "first", "minus one"], {})],
    "drop some": [
        ("ReduceMax", ["t"], {"axes": [1], "keepdims": 0}),
        ("Greater", ["_", "none"], {}),
        ("Compress", ["t", "_"], {"axis": 0}),
    ],
    "double some": [
        ("ReduceMax", ["t"], {"axes": [1], "keepdims": 0}),
        ("Greater", ["_", "five"], {}),
        ("Compress", ["t", "_"], {"axis": 0}),
        ("Concat", ["t", "_"], {"axis": 0}),
    ],
    "running sum": [("CumSum", ["t", "zero"], {})],
}
BESIDE: Mapping[str, tuple[str, list[str], dict[str, Any]]] = {
    "columns": ("Concat", ["t", "b"], {"axis": 1}),
    "sum of rows": ("ReduceSum", ["t", "first"], {"keepdims": 1}),
    "b itself": ("Identity", ["b"], {}),
}
KINDS = {TensorProto.FLOAT: np.float32, TensorProto.INT64: np.int64}


@dataclass(frozen=True)
class Recipe:
    """A small model: rows of `width` numbers, through `steps`, and perhaps a second output. All numbers are whole and
    small, so that every sum is exact in whatever order it is computed.
    """

    kind: int
    width: int
    fixed_rows: int
    steps: tuple[str, ...]
    beside: str | None

    def model(self) -> bytes:
        nodes = []
        current = "a"
        for number, step in enumerate(self.steps):
            last = ""
            for part, (operator, inputs, attributes) in enumerate(STEPS[step]):
                names = [{"t": current, "_": last}.get(name, name) for name in inputs]
                last = f"{number}.{part}"
                nodes.append(helper.make_node(operator, names, [last], **attributes))
            current = last
        nodes.append(helper.make_node("Identity", [current], ["y"]))
        outputs = ["y"]
        if self.beside is not None:
            operator, inputs, attributes = BESIDE[self.beside]
            names = [{"t": current}.get(name, name) for name in inputs]
            nodes.append(helper.make_node(operator, names, ["z"], **attributes))
            outputs.append("z")
        used = {name for node in nodes for name in node.input} | {"a"}
        rows: dict[str, str | int] = {"a": "rows", "b": "others", "c": self.fixed_rows}
        constants = {
            "W": np.arange(self.width**2, dtype=KINDS[self.kind]).reshape(self.width, self.width) - 1,
            "none": np.array(0, dtype=KINDS[self.kind]),
            "five": np.array(5, dtype=KINDS[self.kind]),
            "first": np.array([0]),
            "minus one": np.array([-1]),
            "least": np.array([-(2**62)]),
            "zero": np.array(0),
        }
        graph = helper.make_graph(
            nodes,
            "recipe",
            [helper.make_tensor_value_info(name, self.kind, [rows[name], self.width]) for name in rows if name in used],
            [helper.make_tensor_value_info(name, self.kind, [f"rows of {name}", None]) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return bytes(model.SerializeToString())


def inputs_of(model: bytes) -> list[str]:
    return [value.name for value in onnx.load_from_string(model).graph.input]


@st.composite
def crowds(draw: st.DrawFn) -> tuple[bytes, list[Feed]]:
    """A model, and what its clients ask at the same time."""
    steps = tuple(draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=3)))
    # ONNX Runtime leaves memory as it was where it puts columns beside those of no row, also for one client alone.
    beside = sorted(BESIDE) if "drop some" not in steps else ["b itself", "sum of rows"]
    recipe = Recipe(
        kind=draw(st.sampled_from(sorted(KINDS))),
        width=draw(st.integers(1, 3)),
        fixed_rows=draw(st.integers(1, 2)),
        steps=steps,
        beside=draw(st.none() | st.sampled_from(beside)),
    )
    model = recipe.model()

    def tensor(rows: int) -> Array:
        numbers = st.lists(st.integers(-9, 9), min_size=rows * recipe.width, max_size=rows * recipe.width)
        return np.array(draw(numbers), dtype=KINDS[recipe.kind]).reshape(rows, recipe.width)

    feeds = []
    for _ in range(draw(st.integers(2, 6))):
        rows = draw(st.integers(1, 3))
        number = {"a": rows, "b": draw(st.just(rows) | st.integers(1, 3)), "c": recipe.fixed_rows}
        feeds.append({name: tensor(number[name]) for name in inputs_of(model)})
    return model, feeds


class Held:
    """The engine, whose first run waits until it is let go: what is asked until then waits together."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._let_go = Event()

    def let_go(self) -> None:
        self._let_go.set()

    def run(self, feed: Feed) -> list[Array]:
        assert self._let_go.wait(30)
        return self._engine.run(feed)


def asked_together(engine: Engine, feeds: Sequence[Feed]) -> tuple[list[Any], list[BatchRun]]:
    """What each client gets, answer or error, and the runs that it took."""
    runs: list[BatchRun] = []
    held = Held(engine)
    max_rows = 64 if warm_up(engine).rows_are_independent else 1

    async def scenario() -> list[Any]:
        with ThreadPoolExecutor(max_workers=1) as executor:
            batcher = Batcher(held, executor=executor, workers=1, max_rows=max_rows, observe=runs.append)  # type: ignore[arg-type]
            first = asyncio.ensure_future(batcher.infer(feeds[0]))
            others = [asyncio.ensure_future(batcher.infer(feed)) for feed in feeds[1:]]
            while batcher.waiting < len(others):
                await asyncio.sleep(0)
            held.let_go()
            return await asyncio.gather(first, *others, return_exceptions=True)

    return asyncio.run(scenario()), runs


def loaded(model: bytes) -> Engine:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / engines.MODEL_FILE
        path.parent.mkdir()
        path.write_bytes(model)
        return engines.load(Path(folder), threads=1)


def alone(model: bytes, feed: Feed) -> list[Array] | None:
    """The answer where nobody else asks; None where there is none."""
    try:
        return loaded(model).run(feed)
    except EngineError:
        return None


def assert_same(got: Any, expected: list[Array] | None) -> None:
    if expected is None:
        assert isinstance(got, EngineError)
        return
    assert not isinstance(got, BaseException), got
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.shape == theirs.shape


@examples(200)
@given(crowds())
def test_every_client_gets_what_it_gets_alone(crowd):
    model, feeds = crowd

    answers, _ = asked_together(loaded(model), feeds)

    for feed, answer in zip(feeds, answers, strict=True):
        assert_same(answer, alone(model, feed))


def recipe(*steps: str, beside: str | None = None, kind: int = TensorProto.FLOAT) -> bytes:
    return Recipe(kind=kind, width=1, fixed_rows=1, steps=steps, beside=beside).model()


def column(*numbers: int) -> Array:
    return np.array(numbers, dtype=np.float32).reshape(-1, 1)


@pytest.mark.parametrize(
    "model", [recipe("broadcast"), recipe("dense", beside="columns")], ids=["stretches a row", "refuses"]
)
def test_a_request_of_unequal_rows_is_not_put_together_with_others(model):
    """Their sums fit: two and one rows beside one and two."""
    feeds = [
        {"a": column(1), "b": column(10)},
        {"a": column(1, 2), "b": column(-1)},
        *({"a": column(number), "b": column(100 * number)} for number in range(2, 10)),
        {"a": column(7), "b": column(-7, -8)},
    ]

    answers, runs = asked_together(loaded(model), feeds)

    for feed, answer in zip(feeds, answers, strict=True):
        assert_same(answer, alone(model, feed))
    assert max(run.rows for run in runs) == 8, "those of one row each are computed together"


def test_a_model_that_drops_one_row_and_doubles_another_is_found_out():
    """Their number may be the same then, and the answer of one client that of another."""
    feeds = [{"a": column(1)}, {"a": column(6)}, {"a": column(-6)}]
    model = recipe("drop some", "double some")

    answers, _ = asked_together(loaded(model), feeds)

    for feed, answer in zip(feeds, answers, strict=True):
        assert_same(answer, alone(model, feed))


def test_a_model_of_whole_numbers_that_turns_its_rows_around_is_found_out():
    assert not warm_up(loaded(recipe("turn around", kind=TensorProto.INT64))).rows_are_independent


class Sums:
    """An engine whose runs are let go one by one."""

    def __init__(self) -> None:
        self.runs: list[int] = []
        self._permits = Semaphore(0)

    def let_go(self) -> None:
        self._permits.release()

    def run(self, feed: Feed) -> list[Array]:
        assert self._permits.acquire(timeout=30)
        self.runs.append(len(feed["a"]))
        return [feed["a"]]


def rows_of(number: int, width: int = 1) -> Feed:
    return {"a": np.zeros((number, width), dtype=np.float32)}


def test_with_a_delay_a_free_engine_waits_until_a_batch_is_full():
    engine = Sums()

    async def scenario() -> None:
        with ThreadPoolExecutor(max_workers=1) as executor:
            batcher = Batcher(engine, executor=executor, workers=1, max_rows=4, observe=lambda _: None, max_delay=60)  # type: ignore[arg-type]
            asked = [asyncio.ensure_future(batcher.infer(rows_of(1))) for _ in range(3)]
            await asyncio.sleep(0)
            assert batcher.waiting == 3
            asked.append(asyncio.ensure_future(batcher.infer(rows_of(1))))
            engine.let_go()
            await asyncio.gather(*asked)

    asyncio.run(scenario())
    assert engine.runs == [4]


def test_with_a_delay_a_request_that_stays_alone_is_computed_when_it_is_over():
    engine = Sums()
    engine.let_go()

    async def scenario() -> None:
        with ThreadPoolExecutor(max_workers=1) as executor:
            batcher = Batcher(engine, executor=executor, workers=1, max_rows=4, observe=lambda _: None, max_delay=0.01)  # type: ignore[arg-type]
            await batcher.infer(rows_of(1))

    asyncio.run(scenario())
    assert engine.runs == [1]


def test_the_wait_is_that_of_the_rows_that_come_first_where_kinds_take_turns():
    engine = Sums()

    async def scenario() -> None:
        with ThreadPoolExecutor(max_workers=1) as executor:
            batcher = Batcher(engine, executor=executor, workers=1, max_rows=2, observe=lambda _: None)  # type: ignore[arg-type]
            assert batcher.wait_seconds(rows_of(1)) == 0
            running = asyncio.ensure_future(batcher.infer(rows_of(1)))
            engine.let_go()
            await running
            held = [asyncio.ensure_future(batcher.infer(rows_of(1)))]
            await asyncio.sleep(0)
            assert batcher.wait_seconds(rows_of(1)) == 0, "it runs, and does not wait"
            asked = [asyncio.ensure_future(batcher.infer(rows_of(1))) for _ in range(5)]
            asked += [asyncio.ensure_future(batcher.infer(rows_of(1, width=2))) for _ in range(4)]
            await asyncio.sleep(0)

            waits = [batcher.wait_seconds(rows_of(1, width)) for width in (1, 2, 3)]

            row = waits[2] / 4  # a kind of its own has its turn after two rows of each other kind
            assert row > 0
            assert waits == pytest.approx([9 * row, 9 * row, 4 * row])
            for request in asked:
                request.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            assert batcher.wait_seconds(rows_of(1)) == 0, "nobody waits for them"
            engine.let_go()
            await asyncio.gather(*held)

    asyncio.run(scenario())
    assert engine.runs == [1, 1]
