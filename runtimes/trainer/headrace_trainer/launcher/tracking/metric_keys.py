"""How a metric of the script's is called in the run, in the status and by gates."""

from __future__ import annotations

import hashlib
import re

_UNWANTED = re.compile(r"[^A-Za-z0-9_.:/ -]")
_BAD_BEGINNING = re.compile(r"(?<![^/])(?![A-Za-z0-9_])")
_MAX_KEY = 128
_DIGITS = 6


class Keys:
    """The keys of one attempt. Of two names that would have one key the later one gets a suffix that is made of its
    name alone: the same in each attempt that meets them in this order.
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._collision = ""
        self._was_told = False

    def of(self, name: str, prefix: str = "") -> str:
        """The key of `prefix` and `name`."""
        full = prefix + name
        if full not in self._keys:
            key = key_of(full)
            if key in self._names:
                key = _distinct(key, name)
                self._collision = self._collision or (
                    f"{self._names[key_of(full)]!r} and {full!r} would both be called {key_of(full)}: the later one is "
                    f"{key} in the run, in status.metrics and for gates"
                )
            self._keys[full] = key
            self._names.setdefault(key, full)
        return self._keys[full]

    def take_collision(self) -> str:
        """What is to be said of the first collision, once; "" where there is nothing to say."""
        if not self._collision or self._was_told:
            return ""
        self._was_told = True
        return self._collision


def _distinct(key: str, name: str) -> str:
    suffix = f"-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:_DIGITS]}"
    return key[: _MAX_KEY - len(suffix)].rstrip("/") + suffix


def key_of(name: str) -> str:
    """The name in the run: MLflow refuses a whole batch for one that it does not like.

    The same rule as that of a gate's metric (MetricName in the operator's api/scalars.py): a name that a gate may have
    is left as it is, and whatever is written can be named by a gate. Letters, digits, _ . : - / and spaces, each part
    between slashes beginning with a letter, a digit or _; every other character becomes _.
    """
    return _BAD_BEGINNING.sub("_", _UNWANTED.sub("_", name))[:_MAX_KEY].rstrip("/")
