"""Calls a function after a module has been imported for the first time.

A finder on sys.meta_path wraps the loader of the modules that somebody waits for; all others are left to the
interpreter, and a script that never imports them pays nothing.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _LoaderThenCall(Loader):
    """A module's own loader, and then the call."""

    def __init__(self, loader: Loader, then: Callable[[], None]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._then()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class AfterImport(MetaPathFinder):
    """The finder; `calls` maps a module's name to what is called once after its import."""

    def __init__(self, calls: dict[str, Callable[[], None]]) -> None:
        self._waiting = dict(calls)

    def install(self) -> None:
        """Puts the finder in front of all others; a module that is there already is called for at once."""
        for name in [name for name in self._waiting if name in sys.modules]:
            self._waiting.pop(name)()
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        then = self._waiting.pop(fullname, None)
        if then is None:
            return None
        # The name is no longer waited for, so this finds the spec that would have been found without us.
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            self._waiting[fullname] = then
            return None
        spec.loader = _LoaderThenCall(spec.loader, then)
        return spec
