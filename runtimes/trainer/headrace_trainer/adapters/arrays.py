"""Arrays in a file, as numpy's own `savez` writes them, streamed: nothing is copied to be written, and what is read is
read one array at a time, when it is asked for.

numpy is imported where it is needed: a script need not have it.
"""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"
_SUFFIX = ".npy"
_CHUNK_BYTES = 8 << 20
# Of a zip file: an entry's own header, and where the lengths of its name and of its extra field are in it.
_HEADER_BYTES, _LENGTHS_AT = 30, 26


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """A new file, synced. Raises ValueError for an array of Python objects."""
    import numpy as np

    with path.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name in arrays:
                array = np.asarray(arrays[name], order="C")
                if array.dtype.hasobject:
                    raise ValueError(f"{name} is an array of Python objects")
                with archive.open(name + _SUFFIX, "w", force_zip64=True) as entry:
                    np.lib.format.write_array_header_1_0(entry, np.lib.format.header_data_from_array_1_0(array))
                    content = array.reshape(-1).view(np.uint8)
                    for begin in range(0, content.size, _CHUNK_BYTES):
                        entry.write(content[begin : begin + _CHUNK_BYTES].data)
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True)
class _Entry:
    offset: int
    dtype: Any
    shape: tuple[int, ...]
    order: Any


class StoredArrays(Mapping[str, Array]):
    """The arrays of a file; each access reads one anew. Any thread may."""

    def __init__(self, path: Path) -> None:
        """Reads the file once, and keeps none of it. Raises OSError, ValueError or BadZipFile where it is damaged."""
        self._path = path
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"{damaged} is not what was written")
            self._entries = {info.filename.removesuffix(_SUFFIX): _entry(archive, info) for info in archive.infolist()}

    def __getitem__(self, name: str) -> Array:
        import numpy as np

        entry = self._entries[name]
        count = math.prod(entry.shape)
        array = np.fromfile(self._path, entry.dtype, count, offset=entry.offset)
        return array.reshape(entry.shape, order=entry.order)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def _entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Entry:
    import numpy as np

    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    with archive.open(info) as entry:
        version = np.lib.format.read_magic(entry)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(entry)
        within = entry.tell()
    if dtype.hasobject:
        raise ValueError(f"{info.filename} is an array of Python objects: never loaded")
    assert archive.fp is not None
    archive.fp.seek(info.header_offset + _LENGTHS_AT)
    name, extra = struct.unpack("<HH", archive.fp.read(_HEADER_BYTES - _LENGTHS_AT))
    return _Entry(info.header_offset + _HEADER_BYTES + name + extra + within, dtype, shape, "F" if is_fortran else "C")
