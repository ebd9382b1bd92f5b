"""spec.prepare: the stage that makes a dataset, before the training begins."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from headrace.api.base import Model, Rule, Schema, list_map
from headrace.api.common import Resources
from headrace.api.program import Dataset, Entrypoint, Parameter, Source
from headrace.api.scalars import ImageReference, Label
from headrace.api.spark import Spark
from headrace.api.tables import Tables


class PrepareType(StrEnum):
    SCRIPT = "Script"
    TABLES = "Tables"
    SPARK = "Spark"


class PrepareOutput(Model):
    """The dataset that comes out."""

    name: Annotated[Label, Schema("Its name: the training finds it at /data/NAME, read-only.", maxLength=40)]


class Prepare(Model):
    """What is run once, in a pod of its own, before the training: it makes a dataset that the training gets."""

    type: Annotated[
        PrepareType,
        Schema(
            "Script: a program in one pod. The files that it leaves in the folder which HEADRACE_DATASET_DIR names are "
            "the dataset. Tables: no program; what is declared in tables is all, and what comes of it is the dataset. "
            "Spark: a program that uses PySpark, on executors in pods of their own. It reads its inputs where they "
            "lie, at the addresses in HEADRACE_INPUT_NAME, and writes below the one in HEADRACE_DATASET_DIR, all s3a://."
        ),
    ]
    tables: Annotated[
        Tables | None,
        Schema(
            "What is declared of tables: their schema, what is private, how they are split, balanced and written. With "
            "type Script it is done first, and the script finds what came of it in the folder that HEADRACE_TABLES_DIR "
            "names."
        ),
    ] = None
    entrypoint: Annotated[
        Entrypoint | None,
        Schema("The script to run, relative to the source, such as prepare.py. Types Script and Spark need it."),
    ] = None
    source: Annotated[Source | None, Schema("Where the script comes from. Absent: from spec.source.")] = None
    image: Annotated[
        ImageReference,
        Schema("The image that the pod runs. Empty: as spec.image; with type Spark this release's image of Spark."),
    ] = ""
    parameters: Annotated[
        dict[str, Parameter],
        Schema(
            "Parameters of this script alone: strings, numbers, true or false, lists of them. Each is given to it as "
            "--NAME=VALUE and logged to MLflow.",
            maxProperties=64,
        ),
    ] = Field(default_factory=dict)
    datasets: Annotated[
        tuple[Dataset, ...],
        Schema("Inputs of this script, which it finds at /data/NAME, read-only.", maxItems=16, **list_map("name")),
    ] = ()
    spark: Annotated[
        Spark | None, Schema("Of type Spark: executors, and properties of Spark. Absent: two executors.")
    ] = None
    resources: Annotated[Resources, Schema("Compute resources of the pod; with type Spark of the driver.")] = (
        Resources()
    )
    output: Annotated[PrepareOutput, Schema("The dataset that comes out.")]

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.source) || !has(self.source.image) || !has(self.image) || self.image == ''",
            "prepare.source.image is the image that runs: leave prepare.image empty",
            field_path=".image",
        ),
        Rule(
            "self.type != 'Script' || has(self.entrypoint)",
            "name the script that type Script runs",
            reason="FieldValueRequired",
            field_path=".entrypoint",
        ),
        Rule(
            "self.type != 'Spark' || has(self.entrypoint)",
            "name the script that type Spark runs",
            reason="FieldValueRequired",
            field_path=".entrypoint",
        ),
        Rule(
            "!has(self.spark) || self.type == 'Spark'",
            "spark belongs to type Spark: leave it out, or use that type",
            field_path=".spark",
        ),
        Rule(
            "self.type != 'Spark' || !has(self.tables)",
            "tables are done in one pod, of type Tables or Script: leave them out, or use one of these types",
            field_path=".tables",
        ),
        Rule(
            "self.type != 'Spark' || !has(self.datasets) || "
            "self.datasets.all(one, has(one.uri) && one.uri.startsWith('s3://'))",
            "with type Spark each dataset is of s3://, where executors can read it: volumes, and what is elsewhere, "
            "only the driver would have",
            field_path=".datasets",
        ),
        Rule(
            "self.type != 'Spark' || !has(self.datasets) || self.datasets.all(one, !has(one.unpack))",
            "with type Spark nothing is fetched that could be unpacked, and Spark reads gzip and zstd by itself: leave "
            "unpack out",
            field_path=".datasets",
        ),
        Rule(
            "self.type != 'Tables' || has(self.tables)",
            "say what type Tables does",
            reason="FieldValueRequired",
            field_path=".tables",
        ),
        Rule(
            "self.type != 'Tables' || (!has(self.entrypoint) && !has(self.source))",
            "type Tables runs no script: leave entrypoint and source out, or use type Script",
            field_path=".type",
        ),
        Rule(
            "!has(self.tables) || (has(self.datasets) && self.datasets.exists(one, one.name == self.tables.dataset))",
            "tables.dataset is the name of one of prepare.datasets",
            field_path=".tables.dataset",
        ),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.prepare) || !has(self.prepare.datasets) || self.prepare.datasets.all(one, !has(one.shard) && "
        "!has(one.access))",
        "a preparation has one pod, which reads copies: leave shard and access out of prepare.datasets",
        field_path=".prepare.datasets",
    ),
    Rule(
        "!has(self.prepare) || !has(self.datasets) || self.datasets.all(one, one.name != self.prepare.output.name)",
        "prepare.output.name is the name of one of spec.datasets: the training would find two datasets in one folder",
        field_path=".prepare.output.name",
    ),
    Rule(
        "!has(self.prepare) || !has(self.source.image) || has(self.prepare.source) || !has(self.prepare.image) || "
        "self.prepare.image == ''",
        "source.image is the image that runs: leave prepare.image empty, or give prepare a source of its own",
        field_path=".prepare.image",
    ),
)
"""What holds between `prepare` and the rest of a TrainingJob's spec, for the API server."""
