"""spec.evaluate: the stage after the training that judges the model which came out, on data that it has not seen."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar

from pydantic import Field

from headrace.api.base import ATOMIC, SET, Model, Rule, Schema, list_map, matching
from headrace.api.common import Resources
from headrace.api.explain import RULES as EXPLAIN_RULES
from headrace.api.explain import Explain
from headrace.api.program import Dataset, Entrypoint, Parameter, Source
from headrace.api.scalars import (
    DECIMAL_PATTERN,
    Alias,
    DecimalString,
    ImageReference,
    Label,
    MetricName,
    TextOrNumber,
    decimal_between,
)
from headrace_common.evaluation import FAIRNESS, METRICS, OF_JOB, Task
from headrace_common.formats import ModelFormat

Column = Annotated[
    str,
    Schema(
        "A column.",
        minLength=1,
        maxLength=63,
        rules=(matching(r"^[^=]+$", "must be the name of a column, without ="),),
    ),
]
OptionalColumn = Annotated[
    str, Schema(maxLength=63, rules=(matching(r"^[^=]*$", "must be the name of a column, without ="),))
]
# What a server can run on rows. A Keras file is to train on with, and what answers with text has no rows.
SERVED = (ModelFormat.ONNX, ModelFormat.TENSORFLOW)


class EvaluationData(Model):
    """The rows that the model is judged on."""

    dataset: Annotated[
        Label,
        Schema("A dataset by its name: of evaluate.datasets, of spec.datasets, or prepare.output.name.", maxLength=40),
    ]
    path: Annotated[
        str,
        Schema(
            "A file or folder of the dataset, such as test.parquet; files are .npz, .csv, .parquet or .jsonl, and all "
            "of one kind. Empty: the dataset itself.",
            maxLength=256,
            rules=(
                matching(r"^([^/].*)?$", "must be relative to the dataset, such as test.parquet"),
                Rule("!self.split('/').exists(part, part == '..')", "must stay within the dataset: no .. in the path"),
            ),
        ),
    ] = ""
    label: Annotated[Column, Schema("The column, or array of an .npz file, that has the truth.")] = "label"
    inputs: Annotated[
        dict[str, Annotated[tuple[Column, ...], Schema("Columns, in the model's order.", maxItems=256, **ATOMIC)]],
        Schema(
            "The columns or arrays of each input of the model. Absent: those of the inputs' own names; with one input, "
            "otherwise all that are no label, weight, group, slice or sensitive column.",
            maxProperties=16,
        ),
    ] = Field(default_factory=dict)
    output: Annotated[str, Schema("The output of the model that is judged. Empty: its only one.", maxLength=128)] = ""
    weight: Annotated[OptionalColumn, Schema("The column with the rows' weights. Empty: all weigh the same.")] = ""
    group: Annotated[
        OptionalColumn,
        Schema(
            "The column that says which rows belong together, with any task: they are drawn together where the model "
            "is compared with the baseline, such as the pictures of one patient. With task Ranking they are those of "
            "a query. Empty: each row is by itself."
        ),
    ] = ""
    positive: Annotated[
        TextOrNumber,
        Schema(
            'The label of the positive class, a text or a whole number; of true and false it is "1" or "0". Of two '
            "classes precision, recall, f1 and areas under curves are of it, and evaluate.sensitive compares who is "
            "given it. Empty: precision, recall and f1 are means over classes, all else is of the greater one of two.",
            maxLength=128,
        ),
    ] = ""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.inputs) || self.inputs.all(name, !(self.label in self.inputs[name]))",
            "the label is what the model has to find out: leave the column out of evaluate.data.inputs, and out "
            "of what it is trained on",
            field_path=".inputs",
        ),
    )


class EvaluateGate(Model):
    """A bound on what the stage has measured: min, max, maxRegression, or several of them."""

    metric: Annotated[
        MetricName,
        Schema("A metric of the task, such as accuracy; with task Script, one that the program logs."),
    ]
    slice: Annotated[
        str,
        Schema(
            "Empty: all rows. COLUMN=VALUE: the rows that have this value, such as region=north. Of a metric between "
            "groups, such as equalized_odds_difference: the sensitive column.",
            maxLength=200,
        ),
    ] = ""
    min: Annotated[DecimalString | None, Schema('The least value that passes: a decimal in quotes, such as "0.9".')] = (
        None
    )
    max: Annotated[
        DecimalString | None, Schema('The largest value that passes: a decimal in quotes, such as "0.1".')
    ] = None
    max_regression: Annotated[
        DecimalString | None,
        Schema(
            "By how much the model may be worse than the baseline, in the metric's own unit: a decimal in quotes, such "
            'as "0.02". The gate fails where the model is worse by more than that with the confidence that is asked '
            "for, as far as the same rows tell of both.",
            rules=(decimal_between("0", "1000000000000000"),),
        ),
    ] = None
    confidence: Annotated[
        DecimalString,
        Schema(
            "How sure it has to be that the model is worse by more than maxRegression before the gate fails.",
            rules=(decimal_between("0.5", "0.9999"),),
        ),
    ] = Decimal("0.95")

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.min) || has(self.max) || has(self.maxRegression)",
            "a gate needs min, max or maxRegression",
            reason="FieldValueRequired",
        ),
        Rule(
            f"!has(self.min) || !has(self.max) || !self.min.matches(r'{DECIMAL_PATTERN}') || "
            f"!self.max.matches(r'{DECIMAL_PATTERN}') || double(self.min) <= double(self.max)",
            "min is larger than max: no value could pass",
            field_path=".min",
        ),
    )


class EvaluateBaseline(Model):
    """The version of the same model that the new one is compared with."""

    alias: Annotated[
        Alias,
        Schema(
            "The version that this alias of spec.output.model points at when the stage begins, such as champion. Where "
            "it points at none yet, only the absolute bounds of the gates hold (condition BaselineCompared)."
        ),
    ]


class ModelCard(Model):
    """What only a person can write in the model's card."""

    intended_use: Annotated[str, Schema("What the model is for, and for whom.", maxLength=4096)] = ""
    limits: Annotated[str, Schema("What it is not for, and what it is known to do badly.", maxLength=4096)] = ""
    licence: Annotated[str, Schema("The licence of the model, such as Apache-2.0.", maxLength=256)] = ""


def _names(task: Task) -> list[str]:
    return [*METRICS[task], *FAIRNESS.get(task, {})]


def _in(names: list[str]) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"


_BETWEEN_GROUPS = _in(sorted({name for names in FAIRNESS.values() for name in names}))


class Evaluate(Model):
    """What judges the model, in a pod of its own, after the training and before anything is registered."""

    task: Annotated[
        Task,
        Schema(
            "Classification, Regression, Ranking and TextGeneration: the exported model is run on evaluate.data, and "
            "measured by what is usual for it. Script: a program of your own does, which finds the model in the folder "
            "that HEADRACE_MODEL_DIR names, and logs what it measures."
        ),
    ]
    data: Annotated[EvaluationData | None, Schema("The rows that the model is judged on. Absent with task Script.")] = (
        None
    )
    datasets: Annotated[
        tuple[Dataset, ...],
        Schema(
            "Inputs of this stage: a script finds each at /data/NAME, read-only, and what prepare has made beside it.",
            maxItems=16,
            **list_map("name"),
        ),
    ] = ()
    slices: Annotated[
        tuple[Column, ...],
        Schema(
            "Columns: the rows of each of their values are measured by themselves, too; the 50 most frequent values.",
            maxItems=8,
            **SET,
        ),
    ] = ()
    sensitive: Annotated[
        tuple[Column, ...],
        Schema(
            "Columns whose groups are compared with one another: demographic parity, equalized odds, equal "
            "opportunity. Of task Classification.",
            maxItems=8,
            **SET,
        ),
    ] = ()
    format: Annotated[
        ModelFormat | None,
        Schema(
            "The format that is run: ONNX or TensorFlow, as the server does that you deploy it with. Absent: ONNX if "
            "it was exported, otherwise TensorFlow."
        ),
    ] = None
    baseline: Annotated[
        EvaluateBaseline | None,
        Schema("The version that is measured on the same rows, and compared with. Absent: none."),
    ] = None
    gates: Annotated[
        tuple[EvaluateGate, ...],
        Schema(
            "Every gate has to pass; otherwise the job succeeds without a version. One for each metric and slice: min, "
            "max and maxRegression of it go into the same one.",
            maxItems=32,
            **list_map("metric", "slice"),
        ),
    ] = ()
    entrypoint: Annotated[
        Entrypoint | None, Schema("With task Script: the script to run, relative to the source, such as evaluate.py.")
    ] = None
    source: Annotated[
        Source | None, Schema("With task Script: where the script comes from. Absent: from spec.source.")
    ] = None
    image: Annotated[
        ImageReference,
        Schema(
            "The image that the pod runs. Empty: with task Script as spec.image, otherwise the trainer image of this "
            "release."
        ),
    ] = ""
    parameters: Annotated[
        dict[str, Parameter],
        Schema(
            "With task Script: its parameters, strings, numbers, true or false, lists of them. Each is given to it as "
            "--NAME=VALUE and logged to MLflow.",
            maxProperties=64,
        ),
    ] = Field(default_factory=dict)
    resources: Annotated[Resources, Schema("Compute resources of the pod.")] = Resources()
    card: Annotated[ModelCard, Schema("Texts for the model's card, which is kept with the run.")] = ModelCard()
    explain: Annotated[
        Explain | None,
        Schema("Why the model says what it says of a sample of the rows, and which columns matter. Absent: nothing."),
    ] = None

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.task != 'Script' || has(self.entrypoint)",
            "task Script runs a program of yours: name it in evaluate.entrypoint",
            reason="FieldValueRequired",
            field_path=".entrypoint",
        ),
        Rule(
            "self.task == 'Script' || (!has(self.entrypoint) && !has(self.source))",
            "only task Script runs a program of yours: leave entrypoint and source out of evaluate, or use task Script",
        ),
        Rule(
            "self.task == 'Script' || has(self.data)",
            "this task needs rows to judge on: set evaluate.data",
            reason="FieldValueRequired",
            field_path=".data",
        ),
        Rule(
            "self.task != 'Script' || !has(self.data)",
            "a program of yours reads its rows by itself: leave evaluate.data out, and name what it reads in "
            "evaluate.datasets",
            field_path=".data",
        ),
        Rule(
            "self.task != 'Ranking' || !has(self.data) || (has(self.data.group) && self.data.group != '')",
            "task Ranking judges the order within each query: set evaluate.data.group to the column that says which "
            "query a row belongs to",
            reason="FieldValueRequired",
            field_path=".data",
        ),
        *(
            Rule(
                f"self.task != '{task}' || !has(self.gates) || "
                f"self.gates.all(gate, gate.metric in {_in(_names(task))})",
                f"task {task} measures {', '.join(_names(task))}: use one of these in evaluate.gates, or task Script "
                "for a metric of your own",
                field_path=".gates",
            )
            for task in METRICS
        ),
        Rule(
            f"self.task == 'Script' || !has(self.gates) || self.gates.all(gate, !(gate.metric in {_BETWEEN_GROUPS}) "
            "|| (has(self.sensitive) && gate.slice in self.sensitive))",
            "demographic parity, equalized odds and equal opportunity are measured between groups: set the gate's "
            "slice to one of the columns in evaluate.sensitive",
            field_path=".gates",
        ),
        Rule(
            f"self.task == 'Script' || !has(self.gates) || self.gates.all(gate, gate.metric in {_BETWEEN_GROUPS} || "
            "gate.slice == '' || "
            "(has(self.slices) && self.slices.exists(column, gate.slice.startsWith(column + '='))))",
            "a gate's slice is COLUMN=VALUE, such as region=north, with a column of evaluate.slices",
            field_path=".gates",
        ),
        Rule(
            "has(self.baseline) || !has(self.gates) || !self.gates.exists(gate, has(gate.maxRegression))",
            "maxRegression compares with a baseline: set evaluate.baseline.alias to the alias of the version to "
            "compare with, such as champion",
            reason="FieldValueRequired",
            field_path=".baseline",
        ),
        Rule(
            "self.task == 'Script' || !has(self.gates) || "
            "!self.gates.exists(gate, gate.metric == 'max_error' && has(gate.maxRegression))",
            "max_error is the error of a single row, so it cannot be told from chance whether a model is worse by it: "
            "leave maxRegression out, and use max, or another metric such as mean_absolute_error",
            field_path=".gates",
        ),
        Rule(
            "!has(self.sensitive) || self.task in ['Classification', 'Script']",
            "groups are compared with task Classification only: leave evaluate.sensitive out",
            field_path=".sensitive",
        ),
        Rule(
            f"!has(self.format) || self.format in {_in([str(name) for name in SERVED])}",
            "a Keras file is served by no server, and Text has no rows of outputs: judge ONNX or TensorFlow",
            field_path=".format",
        ),
        *EXPLAIN_RULES,
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.evaluate) || !has(self.evaluate.datasets) || self.evaluate.datasets.all(one, !has(one.shard) && "
        "!has(one.access))",
        "an evaluation has one pod, which reads copies: leave shard and access out of evaluate.datasets",
        field_path=".evaluate.datasets",
    ),
    Rule(
        "!has(self.evaluate) || has(self.output)",
        "evaluate judges the model of spec.output: add output, or leave evaluate out",
        reason="FieldValueRequired",
        field_path=".output",
    ),
    Rule(
        "!has(self.evaluate) || !has(self.evaluate.data) || "
        "(has(self.evaluate.datasets) && self.evaluate.datasets.exists(one, one.name == self.evaluate.data.dataset)) "
        "|| (has(self.datasets) && self.datasets.exists(one, one.name == self.evaluate.data.dataset)) "
        "|| (has(self.prepare) && self.prepare.output.name == self.evaluate.data.dataset)",
        "evaluate.data.dataset must be a name of evaluate.datasets or of spec.datasets, or prepare.output.name",
        field_path=".evaluate.data.dataset",
    ),
    Rule(
        "!has(self.evaluate) || !has(self.evaluate.datasets) || !has(self.prepare) || "
        "self.evaluate.datasets.all(one, one.name != self.prepare.output.name)",
        "prepare.output.name is the name of one of evaluate.datasets: the evaluation would find two datasets in one "
        "folder",
        field_path=".evaluate.datasets",
    ),
    Rule(
        "!has(self.evaluate) || !has(self.evaluate.format) || !has(self.output) || !has(self.output.formats) || "
        "self.evaluate.format in self.output.formats",
        "evaluate.format must be one of output.formats: nothing else is exported",
        field_path=".evaluate.format",
    ),
    Rule(
        "!has(self.evaluate) || self.evaluate.task == 'Script' || !has(self.output) || !has(self.output.formats) || "
        f"self.output.formats.exists(one, one in {_in([str(name) for name in SERVED])})",
        "what is judged is what a server runs: add ONNX or TensorFlow to output.formats",
        field_path=".output.formats",
    ),
    Rule(
        "!has(self.evaluate) || !has(self.evaluation) || "
        f"self.evaluation.gates.all(gate, !gate.metric.startsWith('{OF_JOB}'))",
        f"{OF_JOB}... is what the stage evaluate measures: put the gate into evaluate.gates",
        field_path=".evaluation.gates",
    ),
    Rule(
        "!has(self.evaluate) || self.evaluate.task != 'Script' || !has(self.evaluate.image) || "
        "self.evaluate.image == '' || "
        "!(has(self.evaluate.source) ? has(self.evaluate.source.image) : has(self.source.image))",
        "the image of the source is what runs: leave evaluate.image empty, or give evaluate a ConfigMap as its source",
        field_path=".evaluate.image",
    ),
)
"""What holds between `evaluate` and the rest of a TrainingJob's spec, for the API server."""
