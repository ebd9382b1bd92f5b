"""Modules that are imported when something of them is first asked for.

Each worker of pytest-xdist imports all tests when it collects them, and TensorFlow takes ten seconds of computing: a
test that works with Keras in its own process imports it when it runs. What such a test module makes of Keras, it makes
in functions: a class of its layers, too.
"""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """Has what the module has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def module(self) -> Any:
        """Itself, for monkeypatch."""
        return importlib.import_module(self._name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_mock_name":  # pytest asks each name of a test module for these
            raise AttributeError(name)
        return getattr(self.module(), name)
