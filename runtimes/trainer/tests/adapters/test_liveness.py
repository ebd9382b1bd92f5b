"""Which names go from one iteration of a loop to the next."""

from __future__ import annotations

import dis
import sys
from types import CodeType

import pytest

from headrace_trainer.adapters import liveness


def offset_of(code: CodeType, operation: str) -> int:
    return next(one.offset for one in dis.get_instructions(code) if one.opname == operation)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = i\nz = y", set()),
        ("y = y + i", {"y"}),
        ("y += i", {"y"}),
        ("if i:\n    y = i\nuse(y)", {"y"}),
        ("for j in i:\n    total = 0\n    total += j", set()),
        ("for j in i:\n    total += j", {"total"}),
        ("total = 0\nfor j in i:\n    total += j", set()),
        ("y = [z for z in other]", {"other"}),
        ("try:\n    y = i\nexcept E:\n    y = kept", {"E", "kept"}),
        ("with i as y:\n    y = kept", {"kept"}),
        ("y = lambda: i", set()),
        ("del y\ny = i", set()),
        ("if i:\n    after = i", {"after"}),
        ("after = i", set()),
        ("if i:\n    break\nafter = i", {"after"}),
        ("use(after)", {"after"}),
    ],
)
def test_what_an_iteration_reads_before_it_writes_to_it(body, expected):
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    after = "use(after)" if "after" in body else "use()"
    code = compile(f"after = y = 0\nfor i in numbers:\n{lines}\n{after}", "script.py", "exec")
    assert liveness.read_later(code, offset_of(code, "FOR_ITER")) == expected | {"use"}


def test_a_function_that_is_in_a_call_is_looked_at_as_it_is():
    found = []

    def ask(*_):
        frame = sys._getframe(1)
        found.append(
            (liveness.read_later(frame.f_code, frame.f_lasti), liveness.read_from(frame.f_code, frame.f_lasti))
        )
        found.append(liveness.written_next(frame.f_code, frame.f_lasti))
        return 0

    def script(steps):
        best = None
        start = ask(steps)
        for i in range(start, steps):
            best = i if best is None else best
        return best

    script(3)
    assert found == [(frozenset({"best", "steps", "range"}), frozenset({"best", "steps", "range"})), "start"]


def test_of_a_call_in_loops_all_of_them_are_looked_at():
    def train(steps, batches, step):
        epoch, best = 0, None
        while epoch < 3:
            total = 0
            for batch in batches:
                loss = step(batch)
                total += loss
            best = total if best is None else min(best, total)
            epoch += 1
        return best

    call = next(
        one.offset
        for one in dis.get_instructions(train)
        if one.opname == "CALL"
        and one.positions is not None
        and one.positions.lineno == train.__code__.co_firstlineno + 5
    )
    assert liveness.read_in_loops(train.__code__, call) == {"epoch", "best", "batches", "step", "total", "min"}
