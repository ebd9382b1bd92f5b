"""spec.prepare.tables: what is declared of tables, and done before the script or in place of one.

Its words are those that the launcher reads (headrace_common.protocol.tables); only the Secret is not among them.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from headrace.api.base import SET, Model, Rule, Schema, list_map
from headrace.api.common import SecretReference
from headrace.api.scalars import DECIMAL_PATTERN, DecimalString, Label, decimal_between
from headrace_common.protocol.tables import (
    Action,
    BalanceMethod,
    ColumnType,
    Compression,
    Detect,
    TableFormat,
)

ColumnName = Annotated[
    str, Schema("The column's name, as in the table: capitals and spaces count.", minLength=1, maxLength=128)
]
# All rules of a field are run, also on what is no decimal.
_ARE_DECIMALS = " && ".join(
    f"(!has(self.{part}) || self.{part}.matches(r'{DECIMAL_PATTERN}'))" for part in ("train", "validation", "test")
)
_SUM = (
    "(double(self.train) + "
    + " + ".join(f"(has(self.{part}) ? double(self.{part}) : 0.0)" for part in ("validation", "test"))
    + ")"
)
_Share = Annotated[DecimalString, Schema(rules=(decimal_between("0", "1"),))]


class MaskingKey(SecretReference):
    """A key of a Secret in this namespace."""

    key: Annotated[str, Schema("The entry of the Secret's data.", minLength=1, maxLength=253)]


class TableColumn(Model):
    """What holds of one column. What does not hold stops the job."""

    name: ColumnName
    type: Annotated[
        ColumnType,
        Schema(
            "What its values are. Texts of a CSV file are read as that: Timestamp is as in ISO 8601, UTC where it has "
            "no zone; Boolean is true, false, 1 or 0."
        ),
    ]
    nullable: Annotated[bool, Schema("Whether values may be missing.")] = False
    unique: Annotated[bool, Schema("Whether no value is there twice.")] = False
    min: Annotated[DecimalString | None, Schema("Integer and Number: the least value.")] = None
    max: Annotated[DecimalString | None, Schema("Integer and Number: the largest value.")] = None
    one_of: Annotated[
        tuple[Annotated[str, Schema(maxLength=256)], ...],
        Schema("Text: all values that there may be.", maxItems=100, **SET),
    ] = ()
    matches: Annotated[
        str,
        Schema(
            "Text: a regular expression of Python's re that is found in each value. Whether it is one is known in the "
            "pod alone: one that is none ends the job there, with BadConfig.",
            maxLength=512,
        ),
    ] = ""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(!has(self.min) && !has(self.max)) || self.type == 'Integer' || self.type == 'Number'",
            "min and max are for Integer and Number",
            field_path=".type",
        ),
        Rule(
            "((!has(self.oneOf) || size(self.oneOf) == 0) && (!has(self.matches) || self.matches == '')) || "
            "self.type == 'Text'",
            "oneOf and matches are for Text",
            field_path=".type",
        ),
    )


class TableSchema(Model):
    """What holds of the table as it comes in."""

    columns: Annotated[
        tuple[TableColumn, ...],
        Schema("Columns that there are, each with what holds of it.", minItems=1, maxItems=256, **list_map("name")),
    ]
    strict: Annotated[bool, Schema("Whether there are no other columns.")] = False


class PrivateColumn(Model):
    """A column, and what is done with it."""

    name: ColumnName
    action: Annotated[
        Action,
        Schema(
            "Drop: it is left out. Mask: each value becomes ***. Hash: HMAC-SHA256 of the value with the key, the same "
            "in each column and table. Tokenize: a short pseudonym under the key, the same in each column of this "
            "name. Keep: it stays, and detect does not look at it."
        ),
    ]


class Privacy(Model):
    """What of the table is private. What is written has none of it."""

    columns: Annotated[
        tuple[PrivateColumn, ...], Schema("The columns that are private.", maxItems=256, **list_map("name"))
    ] = ()
    key_secret_ref: Annotated[
        MaskingKey | None,
        Schema("The key for Hash and Tokenize: at least 16 bytes, such as those of `openssl rand -hex 32`."),
    ] = None
    detect: Annotated[
        Detect,
        Schema(
            "Whether e-mail addresses, telephone numbers, IBANs and payment cards are looked for in the columns that "
            "are left. Report: they are told in report.json and a tag of the run. Refuse: the job stops."
        ),
    ] = Detect.OFF
    region: Annotated[
        str,
        Schema(
            "The country of telephone numbers that are written without one, such as DE. Empty: only those with one are "
            "found.",
            maxLength=2,
            rules=(Rule("self.matches('^([A-Z]{2})?$')", "must be a country in two capitals, such as DE"),),
        ),
    ] = ""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.keySecretRef) || !has(self.columns) || "
            "self.columns.all(one, one.action != 'Hash' && one.action != 'Tokenize')",
            "Hash and Tokenize need a key: name the Secret that has it",
            reason="FieldValueRequired",
            field_path=".keySecretRef",
        ),
    )


class Split(Model):
    """Parts of the rows. Each row is in one. Shares make 1; a part whose share is 0 is not written."""

    train: Annotated[_Share, Schema('The share of train, such as "0.8".')]
    validation: Annotated[_Share | None, Schema('The share of validation, such as "0.1".')] = None
    test: Annotated[_Share | None, Schema('The share of test, such as "0.1".')] = None
    seed: Annotated[
        int,
        Schema(
            "Another seed gives other parts, and other rows where classes are balanced.", minimum=0, maximum=4294967295
        ),
    ] = 0
    stratify: Annotated[
        str, Schema("A column of classes, which have the same share in each part. Not with time.", maxLength=128)
    ] = ""
    group: Annotated[str, Schema("A column whose equal values stay in one part, such as a patient.", maxLength=128)] = (
        ""
    )
    time: Annotated[
        str,
        Schema(
            "A column of times or numbers: earlier rows train. With group a group that is on both sides of a cut is a "
            "leak and stops the job.",
            maxLength=128,
        ),
    ] = ""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.time) || self.time == '' || !has(self.stratify) || self.stratify == ''",
            "time and stratify cannot be had together: rows are cut where the time is, whatever their class",
            field_path=".stratify",
        ),
        Rule(
            f"!({_ARE_DECIMALS}) || (double(self.train) > 0.0 && {_SUM} > 0.999999 && {_SUM} < 1.000001)",
            "train, validation and test are to make 1, and train is to be more than 0",
            field_path=".train",
        ),
    )


class Balance(Model):
    """Makes classes of different sizes count the same, in the part train alone."""

    column: Annotated[str, Schema("The column of classes.", minLength=1, maxLength=128)]
    method: Annotated[
        BalanceMethod,
        Schema(
            "Oversample: rows of small classes are there several times. Undersample: rows of large classes are left "
            "out. Weights: a column weight says what each row counts."
        ),
    ]


class Write(Model):
    """How the parts are written."""

    format: Annotated[TableFormat, Schema("The kind of file.")] = TableFormat.PARQUET
    compression: Annotated[
        Compression | None,
        Schema(
            "How it is compressed. Absent: Parquet by Zstd, CSV not at all. pandas and evaluate read CSV by Gzip "
            "(.csv.gz) too; by Zstd (.csv.zst) pandas needs the package zstandard, and evaluate does not read it."
        ),
    ] = None
    row_group_rows: Annotated[
        int, Schema("Parquet: rows of a row group, which is what a reader reads at once.", minimum=1, maximum=100000000)
    ] = 100_000


class Tables(Model):
    """What is done with the tables of a dataset, in this order: schema, split, privacy, balance, write."""

    dataset: Annotated[Label, Schema("The one of prepare.datasets that has them.", maxLength=40)]
    path: Annotated[
        str,
        Schema(
            "A file or folder of the dataset. Empty: all of it. Read are .csv, .jsonl (also .gz and .zst) and .parquet "
            "files of one kind, in the order of their names, as one table.",
            maxLength=512,
            rules=(
                Rule(
                    "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
                    "must be a relative path, without ..",
                ),
            ),
        ),
    ] = ""
    schema_: Annotated[TableSchema | None, Schema("What holds of the table; what does not hold stops the job.")] = None
    privacy: Annotated[Privacy | None, Schema("What of it is private.")] = None
    split: Annotated[
        Split | None, Schema("Parts: train, validation and test, a file each. Absent: one file, data.")
    ] = None
    balance: Annotated[Balance | None, Schema("Makes classes count the same, in the part train alone.")] = None
    write: Annotated[Write, Schema("How the parts are written.")] = Field(default_factory=Write)

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.balance) || has(self.split)",
            "balance is of the part train: set split, with train alone if there is to be no other part",
            field_path=".balance",
        ),
        Rule(
            "!has(self.split) || !has(self.split.stratify) || !has(self.privacy) || !has(self.privacy.columns) || "
            "self.privacy.columns.all(one, one.name != self.split.stratify || one.action == 'Keep')",
            "stratify names a private column, and the report has the values of this one: name another column, or set "
            "its action in privacy.columns to Keep",
            field_path=".split.stratify",
        ),
        Rule(
            "!has(self.balance) || !has(self.privacy) || !has(self.privacy.columns) || "
            "self.privacy.columns.all(one, one.name != self.balance.column || one.action == 'Keep')",
            "balance names a private column, and the report has the values of this one: name another column, or set "
            "its action in privacy.columns to Keep",
            field_path=".balance.column",
        ),
    )
