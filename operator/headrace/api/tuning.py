"""spec.tuning: the training is tried with several parameters, and the best one is what comes out."""

from __future__ import annotations

from typing import Annotated, ClassVar

from headrace.api.base import SET, Model, Rule, Schema, list_map, matching
from headrace.api.common import Resources
from headrace.api.scalars import DECIMAL_PATTERN, DecimalString, MetricName
from headrace.api.schedule import SUFFIX
from headrace_common.protocol.tuning import Goal, Kind, PrunerType, Sampler

# A trial is a TrainingJob, with a name of its own: NAME-t999.
LONGEST_NAME = 35
_WHOLE = r"^-?[0-9]{1,15}$"
_ARE_DECIMALS = f"self.min.matches(r'{DECIMAL_PATTERN}') && self.max.matches(r'{DECIMAL_PATTERN}')"


class Objective(Model):
    """What makes one trial better than another."""

    metric: Annotated[
        MetricName,
        Schema(
            "A metric that the script logs, such as val_accuracy. Its last value counts; of a Keras script the one of "
            "the model that is exported, where that is known."
        ),
    ]
    goal: Annotated[Goal, Schema("Whether a greater or a smaller value is better.")]


class Dimension(Model):
    """A parameter that is tuned, and the values that it may have."""

    name: Annotated[
        str,
        Schema(
            "The parameter's name: the script is given it as --NAME=VALUE. If spec.parameters has it too, the first "
            "trial begins with that value.",
            minLength=1,
            maxLength=63,
            rules=(
                matching(
                    r"^[A-Za-z_][A-Za-z0-9_.-]*$",
                    "must be the name of a parameter: letters, digits, _ . and -, such as learning_rate",
                ),
            ),
        ),
    ]
    type: Annotated[Kind, Schema("Float or Int: numbers from min to max. Categorical: one of values.")]
    min: Annotated[
        DecimalString | None, Schema('The least number, included: a decimal in quotes, such as "0.0001".')
    ] = None
    max: Annotated[DecimalString | None, Schema("The largest number, included.")] = None
    step: Annotated[
        DecimalString | None,
        Schema("The distance between two numbers, from min on. Absent: any number of type Float, each one of Int."),
    ] = None
    log: Annotated[
        bool,
        Schema("Whether each order of magnitude is as likely as another, as suits a learning rate. min is above 0."),
    ] = False
    values: Annotated[
        tuple[Annotated[str, Schema("A value, as the script is given it.", maxLength=64)], ...],
        Schema('The values of type Categorical: texts in quotes, such as ["relu", "tanh"].', maxItems=32, **SET),
    ] = ()

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.type == 'Categorical' || (has(self.min) && has(self.max))",
            "a number needs min and max",
            reason="FieldValueRequired",
            field_path=".min",
        ),
        Rule(
            "self.type == 'Categorical' || !has(self.values)",
            "values are of type Categorical: leave them out, or change the type",
            field_path=".values",
        ),
        Rule(
            "self.type != 'Categorical' || (has(self.values) && self.values.size() > 0)",
            "type Categorical needs values",
            reason="FieldValueRequired",
            field_path=".values",
        ),
        Rule(
            "self.type != 'Categorical' || (!has(self.min) && !has(self.max) && !has(self.step) && !self.log)",
            "type Categorical has values, and no min, max, step or log",
            field_path=".type",
        ),
        Rule(
            f"!has(self.min) || !has(self.max) || !({_ARE_DECIMALS}) || double(self.min) < double(self.max)",
            "min must be less than max: leave a parameter out that has one value, and set it in spec.parameters",
            field_path=".min",
        ),
        Rule(
            "self.type != 'Int' || [has(self.min) ? self.min : '0', has(self.max) ? self.max : '0', "
            f"has(self.step) ? self.step : '1'].all(number, number.matches(r'{_WHOLE}'))",
            "type Int has whole numbers as min, max and step",
            field_path=".type",
        ),
        Rule(
            f"!has(self.step) || !self.step.matches(r'{DECIMAL_PATTERN}') || double(self.step) > 0.0",
            "step must be more than 0",
            field_path=".step",
        ),
        Rule(
            "!self.log || !has(self.step)",
            "with log there are no steps: leave step out",
            field_path=".step",
        ),
        Rule(
            f"!self.log || !has(self.min) || !self.min.matches(r'{DECIMAL_PATTERN}') || double(self.min) > 0.0",
            "with log min must be more than 0",
            field_path=".min",
        ),
    )


class Pruner(Model):
    """When a trial is stopped before its end."""

    type: Annotated[
        PrunerType,
        Schema(
            "Median: where the best value that it has logged is worse than the median of what the trials that ended "
            "had logged after as many reports."
        ),
    ] = PrunerType.MEDIAN
    startup_trials: Annotated[int, Schema("So many trials end before any is stopped.", minimum=1, maximum=1000)] = 5
    warmup_steps: Annotated[
        int,
        Schema(
            "So many reports of the metric are waited for in each trial; a Keras script has one an epoch.",
            minimum=0,
            maximum=100000,
        ),
    ] = 0


class Tuning(Model):
    """Trials of the training, each a TrainingJob of its own with other parameters."""

    objective: Annotated[Objective, Schema("What makes one trial better than another.")]
    space: Annotated[
        tuple[Dimension, ...],
        Schema("The parameters that are tuned.", minItems=1, maxItems=32, **list_map("name")),
    ]
    sampler: Annotated[
        Sampler,
        Schema(
            "How parameters are chosen. TPE: by what the trials before have shown, the first ten at random. Random: "
            "at random. Grid: each combination of values once, in the order of the space, up to maxTrials."
        ),
    ] = Sampler.TPE
    seed: Annotated[
        int,
        Schema(
            "Of the random numbers. With Random the same seed gives the same parameters; with TPE they also depend on "
            "the trials that had ended.",
            minimum=0,
            maximum=2147483647,
        ),
    ] = 0
    max_trials: Annotated[int, Schema("How many trials there are.", minimum=1, maximum=1000)]
    parallel: Annotated[int, Schema("How many of them run at the same time.", minimum=1, maximum=64)] = 1
    max_failed_trials: Annotated[
        int,
        Schema(
            "How many trials may fail, after the restarts that each of them has; with one more the job fails.",
            minimum=0,
            maximum=1000,
        ),
    ] = 3
    pruner: Annotated[
        Pruner | None,
        Schema("When a trial is stopped before its end. Absent: each one is trained to its end."),
    ] = None
    keep: Annotated[
        int | None,
        Schema(
            "The models of so many trials are kept: those of the best ones, and those that a version or a ModelService "
            "refers to. The others are deleted from the bucket as soon as there are better ones; their runs and "
            "metrics stay. Absent: all models stay.",
            minimum=1,
            maximum=1000,
        ),
    ] = None
    resources: Annotated[
        Resources, Schema("Compute resources of the pod that chooses the parameters; 512Mi of memory are enough.")
    ] = Resources()

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.parallel <= self.maxTrials",
            "parallel is more than maxTrials: no more trials can run than there are",
            field_path=".parallel",
        ),
        Rule(
            "self.sampler != 'Grid' || self.space.all(one, one.type != 'Float' || has(one.step))",
            "a grid has a number of values: give each Float a step, or use another sampler",
            field_path=".space",
        ),
        Rule(
            "self.sampler != 'Grid' || self.space.all(one, !one.log)",
            "a grid has even steps: leave log out, or name the values with type Categorical",
            field_path=".space",
        ),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.tuning) || has(self.output)",
        "tuning ends with the model of the best trial: add output, or leave tuning out",
        reason="FieldValueRequired",
        field_path=".output",
    ),
    Rule(
        "!has(self.tuning) || !has(self.prepare) || !has(self.datasets) || self.datasets.size() < 16",
        "with tuning and prepare datasets has at most 15 entries: a trial has the prepared one, too",
        field_path=".datasets",
    ),
)
"""What holds between `tuning` and the rest of a TrainingJob's spec, for the API server."""

NAME_RULES = (
    Rule(
        f"!has(self.spec.tuning) || size(self.metadata.name) <= {LONGEST_NAME}",
        f"with spec.tuning metadata.name has at most {LONGEST_NAME} characters: its trials are named NAME-t0, "
        "NAME-t1, ...",
    ),
    Rule(
        f"!has(self.spec.tuning) || !has(self.spec.schedule) || size(self.metadata.name) <= {LONGEST_NAME - SUFFIX}",
        f"with spec.schedule and spec.tuning metadata.name has at most {LONGEST_NAME - SUFFIX} characters: "
        "a trial is named after the time and its number, NAME-29401440-t0",
    ),
)
