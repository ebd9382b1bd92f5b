"""In what a candidate's inputs and outputs differ from those of the version that serves (pure).

The rule: the candidate takes each request that the stable version takes, and its answers have the form of those that
clients know. So all names, datatypes and numbers of dimensions are the same. A size may differ in one way: an input may
be free where it was fixed, an output fixed where it was free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from headrace_common.signature import FREE, Signature, Tensor, parse

MAX_TOLD = 5  # differences in a message


def difference(stable: str, candidate: str) -> str:
    """In words, such as `input x: FP32 [-1,4] -> FP32 [-1,5]; output y is missing`. Both are texts of signatures.
    Empty: they do not differ, or one of them is not known.
    """
    before, after = parse(stable), parse(candidate)
    if before is None or after is None:
        return ""
    told = list(differences(before, after))
    more = [f"{len(told) - MAX_TOLD} more"] if len(told) > MAX_TOLD else []
    return "; ".join([*told[:MAX_TOLD], *more])


def differences(stable: Signature, candidate: Signature) -> Iterator[str]:
    """Each one in words: those of inputs first, by name."""
    yield from _of_side("input", stable.inputs, candidate.inputs)
    yield from _of_side("output", stable.outputs, candidate.outputs)


def _of_side(kind: str, stable: Mapping[str, Tensor], candidate: Mapping[str, Tensor]) -> Iterator[str]:
    for name in sorted(stable.keys() | candidate.keys()):
        before, after = stable.get(name), candidate.get(name)
        if after is None:
            yield f"{kind} {name} is missing"
        elif before is None:
            yield f"{kind} {name} is new: {after}"
        elif not _is_covered(*((before, after) if kind == "input" else (after, before))):
            yield f"{kind} {name}: {before} -> {after}"


def _is_covered(narrow: Tensor, wide: Tensor) -> bool:
    """Whether whatever fits `narrow` fits `wide` too."""
    if narrow.datatype != wide.datatype or len(narrow.shape) != len(wide.shape):
        return False
    return all(size in (FREE, other) for size, other in zip(wide.shape, narrow.shape, strict=True))
