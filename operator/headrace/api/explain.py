"""spec.evaluate.explain: why the model says what it says, of a sample of the rows that it is judged on."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from headrace.api.base import Model, Rule, Schema
from headrace.api.scalars import Duration, duration_between
from headrace_common.explanation import Method
from headrace_common.formats import ModelFormat


class Explain(Model):
    """How the answers of the model are explained. What cannot be explained is said, and fails nothing."""

    method: Annotated[
        Method,
        Schema(
            "Shapley: what each value of a table's row adds, against other rows. Occlusion: how the answer changes "
            "where a patch of a picture, a window of a sequence or a token is taken out. IntegratedGradients: the same "
            "question by the model's gradients, which only format TensorFlow has. Auto: the one that fits the model's "
            "inputs."
        ),
    ] = Method.AUTO
    samples: Annotated[
        int,
        Schema(
            "Rows whose answer is explained: half of them the worst mistakes, the others drawn at random.",
            minimum=1,
            maximum=200,
        ),
    ] = 20
    target: Annotated[
        str,
        Schema(
            "The class whose number is explained, by its name. Empty: of each row the one that the model gives it.",
            maxLength=128,
        ),
    ] = ""
    background: Annotated[
        int,
        Schema(
            "Rows, drawn at random, that a row is compared with: an explanation says what makes it differ from these.",
            minimum=1,
            maximum=1000,
        ),
    ] = 50
    budget: Annotated[
        int,
        Schema(
            "Rows that the model is asked for to explain one. More of them make the numbers of Shapley steadier, and "
            "the patches of Occlusion smaller.",
            minimum=1,
            maximum=100000,
        ),
    ] = 512
    importance: Annotated[
        bool,
        Schema(
            "Whether to measure, of a table, by how much the task's first metric gets worse where a column's values "
            "are shuffled among the rows. Tasks Classification and Regression."
        ),
    ] = True
    values: Annotated[
        bool,
        Schema(
            "Whether the values of the explained rows are kept with their explanations. false: no value of a row is "
            "in any artifact, only which row it was, and how much each of its values has added."
        ),
    ] = True
    deadline: Annotated[
        Duration,
        Schema(
            "How long all of it may take, such as 5m; what is not explained by then is left out, and that is said.",
            rules=(duration_between("10s", "1h"),),
        ),
    ] = timedelta(minutes=5)


# Of spec.evaluate.
RULES: tuple[Rule, ...] = (
    Rule(
        "self.task != 'Script' || !has(self.explain)",
        "a program of yours explains by itself: leave evaluate.explain out",
        field_path=".explain",
    ),
    Rule(
        f"!has(self.explain) || !has(self.explain.method) || self.explain.method != '{Method.INTEGRATED_GRADIENTS}' || "
        f"(has(self.format) && self.format == '{ModelFormat.TENSORFLOW}')",
        "only the format TensorFlow has gradients: set evaluate.format to TensorFlow, or explain.method to Auto, "
        "Shapley or Occlusion",
        field_path=".explain",
    ),
)
