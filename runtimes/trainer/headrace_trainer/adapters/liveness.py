"""Which names of a function, or of a script, are read later on before something else is written to them: what it keeps
from one iteration of a loop to the next, and not what it makes anew in each (pure).

By its bytecode, as CPython 3.11 and later have it; what is deleted counts as written.
"""

from __future__ import annotations

import dis
import functools
from collections.abc import Iterable
from types import CodeType
from typing import Any

_READS = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FAST", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_CLOSURE", "LOAD_FROM_DICT_OR")
_WRITES = ("STORE_NAME", "STORE_GLOBAL", "STORE_FAST", "STORE_DEREF", "DELETE_")
_GOES_ELSEWHERE = ("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_ABSOLUTE")
_ENDS = ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE")

_Names = frozenset[str]


def read_later(code: CodeType, offset: int) -> _Names:
    """The names that the code may read after the instruction at this offset (`frame.f_lasti`), which it is in. Where
    that asks a loop for its next element, there is one.
    """
    live, followers = _analysis(code)
    offset = _begin_of(code, offset)
    after = followers[offset]
    if _is_loop(code, offset):
        after = after[:1]
    return frozenset().union(*(live[one] for one in after))


def read_from(code: CodeType, offset: int) -> _Names:
    """The names that it may read from this instruction on, also where a loop has no next element."""
    return _analysis(code)[0][_begin_of(code, offset)]


def read_in_loops(code: CodeType, offset: int) -> _Names:
    """The same after the beginnings of all loops that this instruction is in: what goes from one of their iterations
    into the next.
    """
    found: set[str] = set()
    for one in _instructions(code):
        if one.opname.startswith(("JUMP_BACKWARD", "POP_JUMP_BACKWARD")) and one.argval <= offset <= one.offset:
            begin = one.argval
            found |= read_later(code, begin) if _is_loop(code, begin) else _analysis(code)[0][begin]
    return frozenset(found)


def written_next(code: CodeType, offset: int) -> str:
    """The name that gets the result of the call at this offset, if it has one of its own."""
    after = next((one for one in _instructions(code) if one.offset > offset and one.opname != "CACHE"), None)
    return str(after.argval) if after is not None and after.opname.startswith("STORE_") else ""


def _begin_of(code: CodeType, offset: int) -> int:
    """Where the instruction begins that this offset is in: of a call a frame may be at the end of its cache."""
    return max((one.offset for one in _instructions(code) if one.offset <= offset), default=0)


def _is_loop(code: CodeType, offset: int) -> bool:
    return any(one.offset == offset and one.opname == "FOR_ITER" for one in _instructions(code))


@functools.cache
def _instructions(code: CodeType) -> tuple[dis.Instruction, ...]:
    return tuple(dis.get_instructions(code))


def _handlers(code: CodeType) -> Iterable[Any]:
    """The parts of the code that an exception leaves for somewhere in it; the types of the library do not know them."""
    return getattr(dis.Bytecode(code), "exception_entries", ())


@functools.cache
def _analysis(code: CodeType) -> tuple[dict[int, _Names], dict[int, tuple[int, ...]]]:
    """The names that are read at or after each instruction, and what may follow on each, what is next to it first."""
    instructions = _instructions(code)
    handlers = [(one.start, one.end, one.target) for one in _handlers(code)]
    followers: dict[int, tuple[int, ...]] = {}
    for one, next_one in zip(instructions, [*instructions[1:], None], strict=True):
        goes_on = next_one is not None and one.opname not in (*_GOES_ELSEWHERE, *_ENDS)
        after = [next_one.offset] if goes_on and next_one is not None else []
        if one.opcode in (*dis.hasjrel, *dis.hasjabs):
            after.append(one.argval)
        # Both ends of a range are in it.
        after += [target for start, end, target in handlers if start <= one.offset <= end]
        followers[one.offset] = tuple(after)
    live: dict[int, _Names] = dict.fromkeys(followers, frozenset())
    is_settled = False
    while not is_settled:
        is_settled = True
        for one in reversed(instructions):
            names: set[str] = set().union(*(live[after] for after in followers[one.offset]))
            if one.opname.startswith(_WRITES):
                names.discard(str(one.argval))
            elif one.opname.startswith(_READS):
                names.add(str(one.argval))
            if names != live[one.offset]:
                live[one.offset] = frozenset(names)
                is_settled = False
    return live, followers
