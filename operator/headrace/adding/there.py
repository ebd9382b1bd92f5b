"""An object as the store lists it, and whether it is a file of this machine.

A store tells a sum of most objects, the ETag: the MD5 of the bytes, or of the MD5s of the parts that they came in, with
the number of parts behind it. It may tell something else, such as of an object that it has encrypted; then the file is
taken for another one, and sent once more. Where it tells no such sum the size has to do. The program in the pod
compares every file with its sha256 in any case.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html (ETag)
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_SUM = re.compile(r"[0-9a-f]{32}(-[0-9]+)?")
_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class There:
    """`size` in bytes; `etag` without its quotes, empty where the store tells none."""

    size: int
    etag: str = ""

    def is_file(self, path: Path, part_bytes: int) -> bool:
        """Whether it is the file, as it is sent here: whole up to `part_bytes`, in parts of these above. Raises OSError
        where the file cannot be read.
        """
        if path.stat().st_size != self.size:
            return False
        return _SUM.fullmatch(self.etag) is None or self.etag == etag_of(path, part_bytes)


def etag_of(path: Path, part_bytes: int) -> str:
    """What a store that keeps the bytes as they are says of the file."""
    if path.stat().st_size <= part_bytes:
        return _md5_of(path, 0, part_bytes).hex()
    size = path.stat().st_size
    parts = [_md5_of(path, begin, part_bytes) for begin in range(0, size, part_bytes)]
    return f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"


def _md5_of(path: Path, begin: int, length: int) -> bytes:
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        file.seek(begin)
        while length > 0 and (block := file.read(min(length, _READ_BYTES))):
            found.update(block)
            length -= len(block)
    return found.digest()
