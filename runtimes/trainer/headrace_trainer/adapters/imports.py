"""Calls a function after a module has been imported for the first time, in whatever order and from wherever it is.

A finder on sys.meta_path wraps the loader of the modules that somebody waits for; all others are left to the
interpreter, and a script that never imports them pays nothing. To be asked for a spec is not to be imported:
TensorFlow looks for Keras' place while it loads, and imports it later. So a module is waited for until it has run to
its end.

Modules that are waited for import one another (Keras imports TensorFlow, and TensorFlow imports Keras). A call is made
when the outermost of them has run to its end: before that the others may be there in half.

A library as large as TensorFlow makes some 600,000 objects that live as long as the process. While it does, the garbage
collector goes through all of them again and again, and later in each full collection and at the interpreter's end: a
third of the time that a short script takes. So it pauses during an import, and what is there after a large one it
leaves alone for good.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _LoaderThenCall(Loader):
    """A module's own loader, and then the call."""

    def __init__(self, loader: Loader, finder: AfterImport) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._finder.run(self._loader, module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class _Thread(threading.local):
    """What one thread is importing."""

    def __init__(self) -> None:
        self.looked_for: set[str] = set()
        self.running = 0
        self.imported: list[str] = []


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    was_enabled = gc.isenabled()  # the script may have disabled it
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class AfterImport(MetaPathFinder):
    """The finder; `calls` maps a module's name to what is called once after its import. Where a call raises,
    `on_failure` gets the module's name and the error. One that cannot go on has to end the process: an import may stand
    in a `try` that takes every error. `large` are those of the modules after which the garbage collector leaves
    alone what is there; gc.get_objects(), by which models are found, no longer has it.
    """

    def __init__(
        self,
        calls: Mapping[str, Callable[[], None]],
        on_failure: Callable[[str, Exception], object],
        large: Collection[str] = (),
    ) -> None:
        self._waiting = dict(calls)
        self._large = frozenset(large)
        self._on_failure = on_failure
        self._thread = _Thread()

    def install(self) -> None:
        """Puts the finder in front of all others; a module that is there already is called for at once."""
        for name in [name for name in self._waiting if name in sys.modules]:
            self._call(name)
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._waiting or fullname in self._thread.looked_for:
            return None
        self._thread.looked_for.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._thread.looked_for.remove(fullname)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _LoaderThenCall(spec.loader, self)
        return spec

    def run(self, loader: Loader, module: ModuleType) -> None:
        """Runs a module's code; then, unless another module that is waited for imports it, makes the calls."""
        thread = self._thread
        thread.running += 1
        try:
            with _collector_paused():
                loader.exec_module(module)
            thread.imported.append(module.__name__)
        finally:
            thread.running -= 1
            # Also where the outer one has failed: what it had imported stays.
            if not thread.running:
                imported, thread.imported = thread.imported, []
                if not self._large.isdisjoint(imported):
                    gc.freeze()
                for name in imported:
                    self._call(name)

    def _call(self, name: str) -> None:
        call = self._waiting.pop(name, None)
        if call is None:
            return
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the script cannot be followed
            self._on_failure(name, error)
