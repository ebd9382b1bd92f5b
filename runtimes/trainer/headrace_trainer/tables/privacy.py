"""Private columns: dropped, masked, or replaced by what only the holder of the key can make.

Hash       HMAC-SHA256 of the value as a text, 64 hexadecimal digits. The same value has the same hash in each column
           and table of this key: tables can be joined by it
Tokenize   `tok_` and 26 letters and digits, 128 bits of an HMAC-SHA256 of the column's name and the value. The same
           value has the same token in each column of this name, and another one elsewhere
Mask       `***` for each value that is there

A value that is missing stays missing. Without the key none can be found by trying; with it all can, by trying.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from headrace_common.protocol.tables import Action, Privacy
from headrace_trainer.tables.table import Table
from headrace_trainer.tables.types import Array, texts

MASK = "***"
_TOKEN_BYTES = 16


def apply(table: Table, privacy: Privacy, key: bytes) -> Table:
    """The table without what is private. Raises Refused (ColumnNotFound)."""
    for name, action in privacy.actions.items():
        column = table.column(name, "privacy")
        if action is Action.DROP:
            table = Table(table.data.drop_columns([name]), table.files)
        elif action is not Action.KEEP:
            table = table.with_column(name, _each(column, _ACTIONS[action](key, name)))
    return table


def _each(column: Array, replace: Callable[[str], str]) -> Array:
    """Each different value is replaced once."""
    encoded = texts(column).combine_chunks().dictionary_encode()
    replaced = pa.array([replace(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([pc.take(replaced, encoded.indices)])


def _mask(key: bytes, name: str) -> Callable[[str], str]:
    return lambda value: MASK


def _hash(key: bytes, name: str) -> Callable[[str], str]:
    return lambda value: hmac.new(key, value.encode(), hashlib.sha256).hexdigest()


def _tokenize(key: bytes, name: str) -> Callable[[str], str]:
    of_column = hmac.new(key, b"column\0" + name.encode(), hashlib.sha256).digest()

    def token(value: str) -> str:
        digest = hmac.new(of_column, value.encode(), hashlib.sha256).digest()[:_TOKEN_BYTES]
        return "tok_" + base64.b32encode(digest).decode().rstrip("=").lower()

    return token


_ACTIONS: Mapping[Action, Callable[[bytes, str], Callable[[str], str]]] = {
    Action.MASK: _mask,
    Action.HASH: _hash,
    Action.TOKENIZE: _tokenize,
}
