"""What is declared of tables (`spec.prepare.tables`), as the operator tells it and the launcher reads it: in the words
of the TrainingJob. The Secret with the masking key is not among it: the key comes as an environment variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from headrace_common.protocol.fields import CannotBeDone, Fields, wrong

# The masking key, in the pod's environment.
KEY_VARIABLE = "HEADRACE_MASKING_KEY"
LEAST_KEY_BYTES = 16
# Thirds make 1, too.
_NEAR = Decimal("0.00001")

E = TypeVar("E", bound=StrEnum)


class ColumnType(StrEnum):
    """What a declared column holds."""

    INTEGER = "Integer"
    NUMBER = "Number"
    TEXT = "Text"
    BOOLEAN = "Boolean"
    TIMESTAMP = "Timestamp"


class Action(StrEnum):
    """What is done with a private column."""

    DROP = "Drop"
    MASK = "Mask"
    HASH = "Hash"
    TOKENIZE = "Tokenize"
    KEEP = "Keep"


KEYED = (Action.HASH, Action.TOKENIZE)


class Detect(StrEnum):
    """What is done where personal data is found in the columns that are left."""

    OFF = "Off"
    REPORT = "Report"
    REFUSE = "Refuse"


class BalanceMethod(StrEnum):
    """How classes of different sizes are made to count the same."""

    OVERSAMPLE = "Oversample"
    UNDERSAMPLE = "Undersample"
    WEIGHTS = "Weights"


class TableFormat(StrEnum):
    """Of what is written."""

    PARQUET = "Parquet"
    CSV = "CSV"


class Compression(StrEnum):
    """Of what is written."""

    ZSTD = "Zstd"
    GZIP = "Gzip"
    NONE = "None"


# Where nothing is said: what everybody reads whom the format is for.
COMPRESSION: Mapping[TableFormat, Compression] = {
    TableFormat.PARQUET: Compression.ZSTD,
    TableFormat.CSV: Compression.NONE,
}


@dataclass(frozen=True)
class Column:
    """What holds of a column."""

    name: str
    type: ColumnType
    nullable: bool = False
    unique: bool = False
    min: Decimal | None = None
    max: Decimal | None = None
    one_of: tuple[str, ...] = ()
    matches: str = ""


@dataclass(frozen=True)
class TableSchema:
    """What holds of a table. With `strict` it has no other columns."""

    columns: tuple[Column, ...]
    strict: bool = False


@dataclass(frozen=True)
class Privacy:
    """`actions` by the columns' names; `region` is the country of telephone numbers that are written without one."""

    actions: Mapping[str, Action]
    detect: Detect = Detect.OFF
    region: str = ""

    @property
    def is_keyed(self) -> bool:
        """Whether it takes a masking key."""
        return any(action in KEYED for action in self.actions.values())


@dataclass(frozen=True)
class Split:
    """Shares of the rows, which make 1, or nearly so. What is empty does not count."""

    train: Decimal
    validation: Decimal = Decimal(0)
    test: Decimal = Decimal(0)
    seed: int = 0
    stratify: str = ""
    group: str = ""
    time: str = ""


@dataclass(frozen=True)
class Balance:
    """Of the training part alone."""

    column: str
    method: BalanceMethod


@dataclass(frozen=True)
class Write:
    """How the parts are written."""

    format: TableFormat = TableFormat.PARQUET
    compression: Compression = Compression.ZSTD
    row_group_rows: int = 100_000


@dataclass(frozen=True)
class Tables:
    """All that is declared; what is None is not done. `path` is a file or folder of the dataset, empty for all."""

    dataset: str
    path: str = ""
    schema: TableSchema | None = None
    privacy: Privacy | None = None
    split: Split | None = None
    balance: Balance | None = None
    write: Write = Write()

    @property
    def is_keyed(self) -> bool:
        """Whether it takes a masking key."""
        return self.privacy is not None and self.privacy.is_keyed

    def as_json(self) -> dict[str, Any]:
        """In the words of the TrainingJob."""
        found: dict[str, Any] = {"dataset": self.dataset, "path": self.path}
        if self.schema is not None:
            columns = [_column_json(column) for column in self.schema.columns]
            found["schema"] = {"strict": self.schema.strict, "columns": columns}
        if self.privacy is not None:
            actions = [{"name": name, "action": str(action)} for name, action in self.privacy.actions.items()]
            found["privacy"] = {"columns": actions, "detect": str(self.privacy.detect), "region": self.privacy.region}
        if (split := self.split) is not None:
            shares = {"train": split.train, "validation": split.validation, "test": split.test}
            by = {"stratify": split.stratify, "group": split.group, "time": split.time}
            found["split"] = {name: str(share) for name, share in shares.items()} | {"seed": split.seed} | by
        if self.balance is not None:
            found["balance"] = {"column": self.balance.column, "method": str(self.balance.method)}
        write = self.write
        found["write"] = {
            "format": str(write.format),
            "compression": str(write.compression),
            "rowGroupRows": write.row_group_rows,
        }
        return found


def parse_tables(fields: Fields) -> Tables:
    """What `Tables.as_json` has made, or a TrainingJob has. Raises NotUnderstood, CannotBeDone."""
    tables = Tables(
        dataset=fields.text("dataset"),
        path=fields.text("path", ""),
        schema=_schema(fields.optional("schema")),
        privacy=_privacy(fields.optional("privacy")),
        split=_split(fields.optional("split")),
        balance=_balance(fields.optional("balance")),
        write=_write(fields.optional("write")),
    )
    _check(tables)
    return tables


def _column_json(column: Column) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": column.name,
        "type": str(column.type),
        "nullable": column.nullable,
        "unique": column.unique,
    }
    found |= {name: str(bound) for name, bound in (("min", column.min), ("max", column.max)) if bound is not None}
    if column.one_of:
        found["oneOf"] = list(column.one_of)
    return found | ({"matches": column.matches} if column.matches else {})


def _schema(fields: Fields | None) -> TableSchema | None:
    if fields is None:
        return None
    columns = tuple(
        Column(
            name=one.text("name"),
            type=_word(one, "type", ColumnType),
            nullable=one.flag("nullable"),
            unique=one.flag("unique"),
            min=_decimal(one, "min"),
            max=_decimal(one, "max"),
            one_of=tuple(map(str, one.items("oneOf"))),
            matches=one.text("matches", ""),
        )
        for one in fields.objects("columns")
    )
    return TableSchema(columns, fields.flag("strict"))


def _privacy(fields: Fields | None) -> Privacy | None:
    if fields is None:
        return None
    actions = {one.text("name"): _word(one, "action", Action) for one in fields.objects("columns")}
    return Privacy(actions, _word(fields, "detect", Detect, Detect.OFF), fields.text("region", ""))


def _split(fields: Fields | None) -> Split | None:
    if fields is None:
        return None
    return Split(
        train=_decimal(fields, "train") or Decimal(0),
        validation=_decimal(fields, "validation") or Decimal(0),
        test=_decimal(fields, "test") or Decimal(0),
        seed=fields.integer("seed", least=0, default=0),
        stratify=fields.text("stratify", ""),
        group=fields.text("group", ""),
        time=fields.text("time", ""),
    )


def _balance(fields: Fields | None) -> Balance | None:
    return None if fields is None else Balance(fields.text("column"), _word(fields, "method", BalanceMethod))


def _write(fields: Fields | None) -> Write:
    if fields is None:
        return Write()
    kind = _word(fields, "format", TableFormat, TableFormat.PARQUET)
    return Write(
        kind,
        _word(fields, "compression", Compression, COMPRESSION[kind]),
        fields.integer("rowGroupRows", least=1, default=Write.row_group_rows),
    )


def _word(fields: Fields, name: str, words: type[E], default: E | None = None) -> E:
    text = fields.text(name, default)
    try:
        return words(text)
    except ValueError:
        raise CannotBeDone(f"tables: {name} {text}: this launcher knows {', '.join(words)} only") from None


def _decimal(fields: Fields, name: str) -> Decimal | None:
    if not fields.has(name):
        return None
    text = fields.text(name)
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise wrong(name, "a decimal", text)
    return value


def _check(tables: Tables) -> None:
    """What each part is well-formed for, but cannot be done together."""
    split, balance = tables.split, tables.balance
    if split is not None:
        shares = (split.train, split.validation, split.test)
        if abs(sum(shares, Decimal(-1))) > _NEAR or min(shares) < 0 or split.train == 0:
            raise CannotBeDone("tables.split: train is more than 0, and train, validation and test make 1")
        if split.time and split.stratify:
            raise CannotBeDone("tables.split: time and stratify cannot be had together")
    if balance is not None and split is None:
        raise CannotBeDone("tables.balance: it is of the training part, and there is no split")
    private = {} if tables.privacy is None else tables.privacy.actions
    for column in ("" if split is None else split.stratify, "" if balance is None else balance.column):
        if private.get(column, Action.KEEP) is not Action.KEEP:
            raise CannotBeDone(f"tables: column {column} is a label, and cannot be private")
