"""What a loop keeps from one iteration to the next beside its models: in names of the script (the best loss so far, a
replay memory, an epsilon that decays), in metrics, and in variables that are in no model. No checkpoint has it. It is
compared with what was there when the loop began, so that nothing is called exact where it matters.

Which names these are is told by the code: those that are read before they are written to in an iteration, in the
function that has the loop and in those that have called it; and what the functions reach that are used there. What
has no print (an iterator) counts as changed, as nobody can tell.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FrameType, ModuleType, SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras.src.optimizers.base_optimizer import BaseOptimizer

from headrace_trainer.adapters import liveness, outside
from headrace_trainer.adapters.arrays import Array
from headrace_trainer.adapters.functions import is_module_of_script, is_of_script, is_path_of_script
from headrace_trainer.adapters.keras.loops.made_names import Made, calls_locals, locals_of
from headrace_trainer.adapters.keras.loops.others import Print, print_of
from headrace_trainer.adapters.keras.state import held, kept
from headrace_trainer.adapters.keras.state import variables as keras_state
from headrace_trainer.adapters.keras.state.held import Look, Node

_STARTED_BY = "headrace_trainer.adapters.script"
# Of longer ones a sample is taken, with what was added last.
_LONG, _SAMPLED, _LAST = 100_000, 50_000, 1000
_OURS = ("headrace_trainer", "headrace_client")

# The function of the script that has the name; none of what other functions reach.
_Key = tuple[CodeType | None, str]
_Names = Callable[[CodeType, int], frozenset[str]]


@dataclass(frozen=True)
class _Seen:
    """What a name holds: a print of its values, None where nobody can tell, and of each of its variables."""

    values: int | None
    variables: Mapping[int, Print]


class Beside:
    """Of one loop, from where it is made: there the loop begins, or is about to. `names` tells which names of a
    function go from one iteration to the next, by its code and where that is; but for those that get the script's
    count of its steps, which is asked for here, or was where `asked` was made.
    """

    def __init__(self, names: _Names = liveness.read_later, asked: Beside | None = None) -> None:
        frames = list(_frames())
        self._counts: dict[CodeType, str] = {} if asked is None else asked._counts
        if asked is None and frames:
            innermost = frames[0]
            self._counts = {innermost.f_code: liveness.written_next(innermost.f_code, innermost.f_lasti)}
        known = {} if asked is None else asked._names
        found = {frame.f_code: names(frame.f_code, frame.f_lasti) for frame in frames if frame.f_code not in known}
        self._names: dict[CodeType, frozenset[str]] = {
            code: read - {self._counts.get(code, "")} for code, read in found.items()
        }
        self._made = Made(frames[0]) if frames else None
        self._began = {key: _seen(value, frozenset()) for key, value in self._now()}
        self._changed: list[str] = []

    def changed(self, known: Iterable[Any]) -> list[str]:
        """The names that hold something else now; the `known` variables are kept."""
        covered = frozenset(id(keras_state.inner(variable)) for variable in known)
        for key, value in self._now():
            began, name = self._began.get(key), key[1]
            if began is not None and name not in self._changed and _differs(began, _seen(value, covered), covered):
                self._changed.append(name)
        return list(self._changed)

    def made(self, arrays: dict[str, Array]) -> dict[str, Any]:
        """What the loop has made for its later iterations, or for what comes after it, as JSON and arrays."""
        frame = None if self._made is None else next((one for one in _frames() if one.f_code is self._made.code), None)
        return {} if self._made is None or frame is None else self._made.taken(frame, arrays)

    def put_back(self, made: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Where the loop begins: gives the names what an earlier attempt had made for them."""
        frame = next(_frames(), None)
        if self._made is not None and frame is not None and frame.f_code is self._made.code:
            self._made.put_back(frame, made, arrays)

    def _now(self) -> Iterator[tuple[_Key, Any]]:
        """What the names hold, of functions that still run."""
        found: dict[_Key, Any] = {}
        for frame in _frames():
            code = frame.f_code
            if calls_locals(frame):
                found[code, f"the function {code.co_name}"] = (None for _ in ())  # nobody can tell
                continue
            local, there = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}, locals_of(frame)
            for name in sorted(self._names.get(code, ())):
                place = there if name in local or name in there else frame.f_globals
                if name in place:
                    found.setdefault((code, name), place[name])
        own = {id(value) for value in found.values()}
        for name, value in outside.reached(_owners(found.values())).items():
            if id(value) not in own:
                yield (None, name), value
        yield from ((key, value) for key, value in found.items() if not isinstance(value, ModuleType))


def _frames() -> Iterator[FrameType]:
    """Of the script's own functions that are being run, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != _STARTED_BY:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _OURS and is_path_of_script(frame.f_code.co_filename):
            yield frame
        frame = frame.f_back


def _owners(values: Iterable[Any]) -> list[Any]:
    """What has the functions that may be used."""
    everything = list(values)
    return [SimpleNamespace(**{str(index): one for index, one in enumerate(everything)}), *filter(_is_own, everything)]


def _is_own(value: Any) -> bool:
    """Whether it is of the script's: a module, a class, or an object of one."""
    if isinstance(value, ModuleType):
        return is_module_of_script(value)
    return is_of_script(value if isinstance(value, type) else type(value))


def _seen(value: Any, covered: frozenset[int]) -> _Seen:
    look = _Look(take=np.asarray)
    try:
        if isinstance(value, type):
            own = kept.values_of_class(value) if is_of_script(value) else {}
            node: Any = [look.at(one, name) for name, one in own.items()]
        else:
            node = look.at(value, "")
        is_told = None not in look.opaque.values()
        prints = {key: print_of(variable) for key, variable in look.found.items() if key not in covered}
        return _Seen(held.print_of(look, node) if is_told else None, prints)
    except Exception:  # noqa: BLE001 - of an object that we know nothing of, or that another thread changes: whatever
        return _Seen(None, {})


def _differs(began: _Seen, now: _Seen, covered: frozenset[int]) -> bool:
    if began.values is None or began.values != now.values:
        return True
    return any(began.variables.get(key) != value for key, value in now.variables.items() if key not in covered)


@dataclass
class _Look(Look):
    """One that takes note of variables, and reads none. Those of models and optimizers are seen otherwise (others.py):
    of them it looks at the attributes that are the script's own.
    """

    found: dict[int, Any] = field(default_factory=dict)

    def at(self, value: Any, path: str) -> Node:
        if isinstance(value, list | tuple | deque) and len(value) > _LONG:
            size = len(value)
            sampled = itertools.islice(value, 0, size, size // _SAMPLED)
            value = [size, *sampled, *itertools.islice(reversed(value), _LAST)]
        return super().at(value, path)

    def _variables(self, owner: Any, found: list[Any], path: str) -> Node:
        if not isinstance(owner, keras.Model | BaseOptimizer):
            self.found |= {id(keras_state.inner(one)): keras_state.inner(one) for one in found}
        if id(owner) in self.seen or not _is_own(owner) or not hasattr(owner, "__dict__"):
            return {"kind": "fixed"}
        self.seen.add(id(owner))
        skipped = kept.set_by_library(type(owner)) | held.RUN_ATTRIBUTES | {"history"}
        own = {name: value for name, value in vars(owner).items() if name not in skipped}
        nodes = {
            name: self.at(value, f"{path}.{name}")
            for name, value in own.items()
            if not name.startswith(kept.OF_TENSORFLOW)
        }
        # Its variables, and the lists that it has of them, may be made by its first use.
        return {name: node for name, node in nodes.items() if not _is_fixed(node)}


def _is_fixed(node: Node) -> bool:
    return node.get("kind") == "fixed" or (node.get("kind") == "list" and all(map(_is_fixed, node["items"])))
