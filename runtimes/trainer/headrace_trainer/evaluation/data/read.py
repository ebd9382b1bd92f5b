"""Files become a table: .npz, .csv, .parquet or .jsonl, one file or a folder of one kind."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headrace_trainer.evaluation.data.kinds import is_passed_over, suffix_of
from headrace_trainer.evaluation.data.table import Table, stacked
from headrace_trainer.evaluation.refusal import UnreadableData, called, listed, words_of

Array = np.ndarray[Any, np.dtype[Any]]
Columns = Mapping[str, Array]
_TRIED = 50
# How a missing number is written beside numbers.
_NO_NUMBER = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "Null", "null", "None")


class _Unreadable(Exception):
    """What is wrong with a file, in words that follow its name."""

    def __init__(self, words: str, hint: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.hint = hint or "Write the file again, and look at it with the same library."


def read(folder: Path, path: str, dataset: str, names: Collection[str] = ()) -> Table:
    """What lies at `path` below the dataset's `folder`, which may itself be a file. The values of the columns `names`
    are names: of a file of texts they are `written`, too. Raises Refusal.
    """
    where = called(dataset, path)
    target = folder / path if path else folder
    if not target.resolve().is_relative_to(folder.resolve()):
        raise UnreadableData(f"{where}: the path leads out of the dataset", "Correct evaluate.data.path.")
    if not target.exists():
        there = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
        raise UnreadableData(
            f"{where} is not there; the dataset has {listed(there) or 'no files'}", "Correct evaluate.data.path."
        )
    files = _files(target, where)
    kind = _kind_of(files, where)
    parts: list[Columns] = []
    written: list[Columns] = []
    for file in files:
        try:
            if names and kind == ".csv":
                written.append(_written(file, names))
            parts.append({name: stacked(values) for name, values in _READERS[kind](file).items()})
        except _Unreadable as error:
            raise UnreadableData(f"{where}: {file.name} {error.words}", error.hint) from error
        except Exception as error:  # whatever a library says of a file that it cannot read
            raise UnreadableData(
                f"{where}: {file.name} is no readable {kind} file: {words_of(error)}",
                "Write the file again, and look at it with the same library.",
            ) from error
    return Table(_joined(parts, files, where), where, _joined(written, files, where) if written else {})


def names_in(file: Path) -> list[str]:
    """The columns of one file, of which the ends are enough, but for .jsonl. Raises what a library raises."""
    return _NAMES[suffix_of(file.name)](file)


def _files(target: Path, where: str) -> list[Path]:
    if target.is_file():
        return [target]
    files = sorted(one for one in target.rglob("*") if one.is_file() and not is_passed_over(one.name))
    if not files:
        raise UnreadableData(f"{where} has no files", "Write the held-out rows there: nothing can be judged.")
    return files


def _kind_of(files: list[Path], where: str) -> str:
    kinds = {suffix_of(file.name) for file in files}
    if len(kinds) > 1:
        raise UnreadableData(
            f"{where} has files of several kinds: {listed(sorted(kinds))}",
            "Name one file, or a folder that has files of one kind alone, in evaluate.data.path.",
        )
    kind = kinds.pop()
    if kind not in _READERS:
        raise UnreadableData(
            f"{where}: files of the kind {kind or '(none)'} cannot be read",
            f"Write one of {listed(_READERS)}; or use task: Script, whose program reads what it likes.",
        )
    return kind


def _joined(parts: list[Columns], files: list[Path], where: str) -> Columns:
    names = list(parts[0])
    for part, file in zip(parts, files, strict=True):
        if set(part) != set(names):
            raise UnreadableData(
                f"{where}: {file.name} has the columns {listed(part)}, and {files[0].name} has {listed(names)}",
                "Write the same columns into every file.",
            )
    if len(parts) == 1:
        return parts[0]
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in names}
    except ValueError as error:
        raise UnreadableData(
            f"{where}: the files do not go together: {words_of(error)}", "Write arrays of one shape into every file."
        ) from error


def _npz(path: Path) -> Columns:
    if not zipfile.is_zipfile(path):
        raise _Unreadable("is no .npz file", "Write it by numpy.savez(PATH, NAME=ARRAY, ...).")
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except ValueError as error:
        if "pickle" in str(error).lower() or "Object arrays" in str(error):
            raise _Unreadable(
                "has an array of Python objects, which is not read: it could run a program",
                "Write numbers, or texts as numpy.array(TEXTS, dtype=str), and not dtype=object.",
            ) from error
        raise
    single = [name for name, values in found.items() if values.ndim == 0]
    if single:
        raise _Unreadable(
            f"has {listed(single)}, which is one value and no array of rows", "Write an array with a row a row."
        )
    return found


def _csv(path: Path) -> Columns:
    return {name: _numbers_where_all_are(values) for name, values in _of_frame(_frame(path)).items()}


def _written(path: Path, names: Collection[str]) -> Columns:
    """These columns, as they are written: a zip code that begins with a 0 is no number. None where there is none."""
    frame = _frame(path, usecols=lambda name: name in names, dtype=str)
    return {name: _without_no_numbers(values) for name, values in _of_frame(frame).items()}


def _without_no_numbers(values: Array) -> Array:
    """What says beside numbers that there is none is missing."""
    found: Array = np.array(values, dtype=object)
    numbers = _numbers_where_all_are(found)
    if numbers is not found:
        found[np.isnan(numbers)] = None
    return found


def _frame(path: Path, **how: Any) -> Any:
    import pandas

    try:
        # As it is written: pandas takes NA, None and null for missing ones, which may be a country, a class, a name.
        return pandas.read_csv(path, low_memory=False, keep_default_na=False, na_values=[""], **how)
    except pandas.errors.EmptyDataError as error:
        raise _Unreadable("is empty", "Write a line with the columns' names, and a line a row.") from error


def _numbers_where_all_are(values: Array) -> Array:
    """A column of texts that are numbers, but for those that say that there is none."""
    if values.dtype.kind in "iufb":
        return values
    import pandas

    words = pandas.Series(values, dtype=object)
    there = words[~(words.isna() | words.isin(_NO_NUMBER))]
    for some in (there.head(_TRIED), there):  # most columns of texts are found out by a few
        if not len(some) or pandas.to_numeric(some.astype(str), errors="coerce").isna().any():
            return values
    found = pandas.to_numeric(there.astype(str)).reindex(words.index)
    return np.asarray(found, dtype=np.float64)


def _parquet(path: Path) -> Columns:
    import pandas

    return _of_frame(pandas.read_parquet(path, engine="pyarrow"))


def _of_frame(frame: Any) -> Columns:
    return {str(name): np.asarray(frame[name]) for name in frame.columns}


def _jsonl(path: Path) -> Columns:
    rows: list[dict[str, Any]] = []
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise _Unreadable(f"has no JSON in line {number}", "Write one JSON object a line.") from error
            if not isinstance(row, dict):
                raise _Unreadable(f"has no object in line {number}", "Write one JSON object a line.")
            rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: list[Any]) -> Array:
    """Numbers as numbers; a missing one is NaN. All else as objects."""
    if values and all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values
    ):
        is_whole = all(isinstance(value, int) for value in values)
        return np.array(
            [np.nan if value is None else value for value in values], dtype=None if is_whole else np.float64
        )
    if values and all(isinstance(value, bool) for value in values):
        return np.array(values)
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _names_in_parquet(path: Path) -> list[str]:
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    # What pandas reads as the index of its rows is none of their columns; a range is no column of the file either.
    index = [one for one in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(one, str)]
    return [name for name in schema.names if name not in index]


def _names_in_npz(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as file:
        return [name.removesuffix(".npy") for name in file.namelist()]


_NAMES: Mapping[str, Callable[[Path], list[str]]] = {
    ".npz": _names_in_npz,
    ".csv": lambda path: [str(name) for name in _frame(path, nrows=0).columns],
    ".parquet": _names_in_parquet,
    ".jsonl": lambda path: list(_jsonl(path)),
}
_READERS: Mapping[str, Callable[[Path], Columns]] = {
    ".npz": _npz,
    ".csv": _csv,
    ".parquet": _parquet,
    ".jsonl": _jsonl,
}
