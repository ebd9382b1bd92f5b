"""How much may come of one packed object: a few kilobytes can be made to unpack to more than any disk holds."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

_MOST_TIMES = 200
_NEVER_TOO_MUCH = 1 << 30  # bytes: what is less than this is taken, however small it was packed
_LEFT_FREE = 256 << 20  # bytes of the disk, which the script and the node need
_LOOK_AFTER = 64 << 20
_OF_A_FILE = 512  # bytes, at least: files without any take room, too


class TooLarge(Exception):
    """More than is written."""


@dataclass
class Bounds:
    """Of one object, which has `packed` bytes; what comes of it is written to the disk that `folder` is on."""

    packed: int
    folder: Path
    most_times: int = _MOST_TIMES
    never_too_much: int = _NEVER_TOO_MUCH
    left_free: int = _LEFT_FREE
    _come: int = 0
    _read: int = 0
    _looked_at: int = -_LOOK_AFTER

    def take(self, size: int) -> None:
        """So many bytes more are about to be written. Raises TooLarge, OSError where there is no room for them."""
        self._come += size
        self._check(self._come, size)
        if self._come - self._looked_at >= _LOOK_AFTER:
            self._looked_at = self._come
            room = os.statvfs(self.folder)
            if room.f_bavail * room.f_frsize < self.left_free + _LOOK_AFTER:
                problem = f"the disk has no more room after {self._come - size} bytes: {self.left_free} are left free"
                raise OSError(errno.ENOSPC, problem)

    def has_read(self, size: int) -> None:
        """So many bytes more were read, of which not all are to be written. Raises TooLarge."""
        self._read += size
        self._check(self._read, size)

    def _check(self, come: int, size: int) -> None:
        if come > max(self.never_too_much, self.most_times * self.packed):
            raise TooLarge(
                f"of {self.packed} bytes come more than {come - size}, which is what is unpacked at most: "
                f"{self.most_times} times as much, or {self.never_too_much} bytes"
            )

    def take_file(self) -> None:
        """One more file is about to be made."""
        self.take(_OF_A_FILE)
