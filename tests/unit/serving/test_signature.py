"""The rule of the guard: which candidates take what clients send, and answer as they expect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.serving.signature import difference, differences
from headrace_common.signature import FREE, Signature, Tensor

NAMES = st.sampled_from(["a", "b", "x", "y", "z"])
SIZES = st.sampled_from([FREE, 1, 4, 5])
TENSORS = st.builds(Tensor, st.sampled_from(["FP32", "INT64", "BYTES"]), st.lists(SIZES, max_size=3).map(tuple))
SIGNATURES = st.builds(
    Signature,
    st.dictionaries(NAMES, TENSORS, min_size=1, max_size=4),
    st.dictionaries(NAMES, TENSORS, min_size=1, max_size=4),
)


def text(inputs="x FP32 -1 4", outputs="y FP32 -1 3"):
    """Tensors are separated by commas: name, datatype, sizes."""
    sides = []
    for side in (inputs, outputs):
        words = [tensor.split() for tensor in side.split(",")]
        sides.append({name: Tensor(datatype, tuple(map(int, shape))) for name, datatype, *shape in words})
    return Signature(*sides).as_text()


CASES = {
    # what differs: (stable, candidate, what is said)
    "nothing": (text(), text(), ""),
    "the order": (text("x FP32 -1, b BOOL -1"), text("b BOOL -1, x FP32 -1"), ""),
    "an input's size": (text(), text("x FP32 -1 5"), "input x: FP32 [-1,4] -> FP32 [-1,5]"),
    "an output's size": (text(), text(outputs="y FP32 -1 9"), "output y: FP32 [-1,3] -> FP32 [-1,9]"),
    "an input's datatype": (text(), text("x FP64 -1 4"), "input x: FP32 [-1,4] -> FP64 [-1,4]"),
    "an output's datatype": (text(), text(outputs="y INT64 -1 3"), "output y: FP32 [-1,3] -> INT64 [-1,3]"),
    "an input's dimensions": (text(), text("x FP32 -1 4 1"), "input x: FP32 [-1,4] -> FP32 [-1,4,1]"),
    "an input's name": (text(), text("z FP32 -1 4"), "input x is missing; input z is new: FP32 [-1,4]"),
    "an output is missing": (
        text(outputs="y FP32 -1 3, z FP32 -1"),
        text(),
        "output z is missing",
    ),
    "an output is new": (text(), text(outputs="y FP32 -1 3, z FP32 -1"), "output z is new: FP32 [-1]"),
    "several": (
        text("x FP32 -1 4", "y FP32 -1"),
        text("x FP32 -1 5", "z FP32 -1"),
        "input x: FP32 [-1,4] -> FP32 [-1,5]; output y is missing; output z is new: FP32 [-1]",
    ),
    "more than is told": (
        text(", ".join(f"x{n} FP32 -1" for n in range(8))),
        text(", ".join(f"x{n} FP64 -1" for n in range(8))),
        "; ".join(f"input x{n}: FP32 [-1] -> FP64 [-1]" for n in range(5)) + "; 3 more",
    ),
    # a size may be freer in what is taken, and narrower in what is answered
    "an input's size is free now": (text(), text("x FP32 -1 -1"), ""),
    "an input's size is fixed now": (text("x FP32 -1 -1"), text(), "input x: FP32 [-1,-1] -> FP32 [-1,4]"),
    "the batch is fixed now": (text(), text("x FP32 1 4"), "input x: FP32 [-1,4] -> FP32 [1,4]"),
    "an output's size is fixed now": (text(outputs="y FP32 -1 -1"), text(), ""),
    "an output's size is free now": (
        text(),
        text(outputs="y FP32 -1 -1"),
        "output y: FP32 [-1,3] -> FP32 [-1,-1]",
    ),
    # what is not known
    "the stable one has none": ("", text(), ""),
    "the candidate has none": (text(), "", ""),
    "somebody else's tag": (text(), "{}", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_what_differs_is_said(case):
    stable, candidate, said = CASES[case]

    assert difference(stable, candidate) == said


@given(SIGNATURES)
def test_a_signature_never_differs_from_itself(signature):
    assert difference(signature.as_text(), signature.as_text()) == ""


@given(SIGNATURES, SIGNATURES)
def test_the_order_of_names_does_not_matter(stable, candidate):
    def turned(signature):
        return Signature(*(dict(reversed(side.items())) for side in (signature.inputs, signature.outputs)))

    assert list(differences(turned(stable), turned(candidate))) == list(differences(stable, candidate))


@given(SIGNATURES, SIGNATURES)
def test_what_passes_both_ways_is_the_same(one, other):
    if not [*differences(one, other), *differences(other, one)]:
        assert one == other


@given(SIGNATURES, SIGNATURES, SIGNATURES)
def test_what_passes_step_by_step_passes_at_once(first, second, third):
    """Clients of the first version are answered by the third."""
    if not [*differences(first, second), *differences(second, third)]:
        assert list(differences(first, third)) == []


@given(SIGNATURES, st.data())
def test_an_input_may_be_freed_and_an_output_fixed(signature, data):
    def each(side, change):
        return {
            name: Tensor(tensor.datatype, tuple(change(size) for size in tensor.shape)) for name, tensor in side.items()
        }

    freed = each(signature.inputs, lambda size: data.draw(st.sampled_from([size, FREE])))
    fixed = each(signature.outputs, lambda size: data.draw(SIZES) if size == FREE else size)

    assert list(differences(signature, Signature(freed, fixed))) == []
