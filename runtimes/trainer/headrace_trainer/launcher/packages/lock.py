"""What requirements.txt was resolved to, kept with the job's checkpoints: `URI/attempt-N/requirements.lock`.

The first attempt's chief resolves; every later attempt, and every other worker, installs the same versions. As with
checkpoints an attempt writes below its own prefix only: the chief of a later one copies what it has found.
"""

from __future__ import annotations

import re

from headrace_common.protocol.config import Checkpoints
from headrace_common.s3 import Place
from headrace_trainer.launcher import chief
from headrace_trainer.launcher.store.s3 import Patience, Store

_NAME = "requirements.lock"


class PackageLock:
    """One job's lock, as one attempt sees it."""

    def __init__(self, settings: Checkpoints, attempt: int, store: Store) -> None:
        self._root = Place.parse(settings.uri)
        self._attempt = attempt
        self._store = store

    def of_earlier_attempt(self, patience: Patience) -> str | None:
        """The chief's: that of the last attempt before this one that had one."""
        if self._attempt == 1:
            return None
        earlier = last_attempt_with(_NAME, self._root, self._attempt, self._store, patience)
        return None if earlier is None else _text(self._store.read(self._place(earlier), patience))

    def publish(self, lock: str, patience: Patience) -> None:
        """The chief's: tell the gang, and the attempts to come."""
        self._store.write(self._place(self._attempt), lock.encode(), patience)

    def await_it(self, seconds: float, patience: Patience) -> str:
        """The other workers': what the chief has published. Raises Failed (StorageUnavailable) where it never does."""
        place, missing = self._place(self._attempt), "has not resolved requirements.txt"
        return _text(chief.await_word(self._store, place, seconds, patience, missing))

    def _place(self, attempt: int) -> Place:
        return self._root.below(f"attempt-{attempt}/{_NAME}")


def last_attempt_with(name: str, root: Place, before: int, store: Store, patience: Patience) -> int | None:
    """The last attempt before `before` that has left an object of this name below its own prefix."""
    prefix, wanted = root.below(""), re.compile(rf"attempt-(\d+)/{re.escape(name)}")
    found = (wanted.fullmatch(item.key[len(prefix.key) :]) for item in store.list(prefix, patience))
    return max((number for match in found if match and (number := int(match[1])) < before), default=None)


def _text(lock: bytes) -> str:
    return lock.decode(errors="replace")
