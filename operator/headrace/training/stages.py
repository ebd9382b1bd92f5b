"""The stages of a TrainingJob, and the part of the job that each of them runs (pure).

A stage is a run of the same attempts: what is rendered, observed, restarted and told of an attempt is made of the
`Part` of its stage. What the success of one comes to is looked up in `phases/succeeded`, what the status says of each
in `stage_status`. A job without `spec.prepare` and `spec.evaluate` has one stage, the training, and its status does not
speak of stages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from headrace.api.common import Resources
from headrace.api.frameworks import Framework
from headrace.api.tables import Tables
from headrace.api.trainingjob import (
    Dataset,
    Evaluate,
    EvaluationStatus,
    InputExample,
    PreparedDataset,
    Source,
    Stage,
    Strategy,
    TrainingJob,
    TrainingJobSpec,
)
from headrace.training.formats import formats_of, optional_of
from headrace.training.inputs import DATA, told
from headrace_common.evaluation import Task
from headrace_common.protocol import config as protocol
from headrace_common.protocol import evaluate as judging

# What a stage does, as a word in texts for people.
_WORK: Mapping[Stage, str] = {
    Stage.PREPARE: "preparation",
    Stage.TRAIN: "training",
    Stage.EVALUATE: "evaluation",
}


@dataclass(frozen=True)
class Part:
    """What one stage runs: all of a job that is not the same in each of its stages.

    `source_copy` is the name of the pinned copy of the source, `image` is empty for the release's, `checkpoints` the
    name of their folder (empty: there are none), `makes` that of the dataset that comes out, where one does, and
    `tables` what is declared of it; `judges` is what is judged, where something is. `resources_field` is where the spec
    has `resources`. Source, its copy and the entrypoint are empty where Headrace's own program is what runs.
    """

    job: TrainingJob
    stage: Stage
    source: Source
    source_copy: str
    image: str
    framework: Framework
    entrypoint: str
    parameters: Mapping[str, protocol.Scalar]
    datasets: tuple[protocol.Dataset, ...]
    strategy: Strategy
    resources: Resources
    checkpoints: str
    formats: tuple[str, ...] = ()
    optional_formats: tuple[str, ...] = ()
    keeps_rows: bool = True
    makes: str = ""
    tables: Tables | None = None
    judges: judging.Evaluate | None = None
    resources_field: str = "resources"

    @property
    def told(self) -> Stage | None:
        """The stage as status and texts name it: not at all in a job that has only one."""
        return self.stage if has_stages(self.job.spec) else None

    @property
    def work(self) -> str:
        """What the stage does, for a text: `the training has ended`."""
        return _WORK[self.stage]

    def attempt(self, number: int) -> str:
        """An attempt by its number, for a text."""
        return f"attempt {number} ({self.told.lower()})" if self.told else f"attempt {number}"

    def says(self, text: str) -> str:
        """The text, with the stage that it speaks of."""
        return f"{self.told.lower()}: {text}" if self.told else text


def stages_of(spec: TrainingJobSpec) -> tuple[Stage, ...]:
    """Those that a job has, in their order."""
    before = () if spec.prepare is None else (Stage.PREPARE,)
    after = () if spec.evaluate is None else (Stage.EVALUATE,)
    return (*before, Stage.TRAIN, *after)


def told_to_launchers(stage: Stage) -> protocol.Stage:
    """The stage in the protocol's words: the same name in lower case."""
    return protocol.Stage(stage.lower())


def has_stages(spec: TrainingJobSpec) -> bool:
    """Whether the job has more than its training."""
    return len(stages_of(spec)) > 1


def stage_of(job: TrainingJob) -> Stage:
    """The stage under way, or the last one; before there was any, the first."""
    return job.status.stage or stages_of(job.spec)[0]


def part_of(job: TrainingJob) -> Part:
    """What the stage under way runs."""
    return _PARTS[stage_of(job)](job)


def parts_to_come(job: TrainingJob) -> tuple[Part, ...]:
    """What the stage under way and those after it run."""
    stages = stages_of(job.spec)
    return tuple(_PARTS[stage](job) for stage in stages[stages.index(stage_of(job)) :])


def entrypoints(job: TrainingJob) -> tuple[str, ...]:
    """The scripts that the source of the stage under way has to have: those of later stages that run from it, too."""
    copy = part_of(job).source_copy
    return tuple(part.entrypoint for part in parts_to_come(job) if part.source_copy == copy and part.entrypoint)


def datasets_uri(bucket: str, name: str) -> str:
    """The folder of all datasets that were ever prepared under this name, one below it each, named by its digest."""
    return f"s3://{bucket}/headrace/datasets/{name}"


def _train(job: TrainingJob) -> Part:
    spec = job.spec
    return Part(
        job=job,
        stage=Stage.TRAIN,
        source=spec.source,
        source_copy=_source_copy(job),
        image=spec.image,
        framework=spec.framework,
        entrypoint=spec.entrypoint,
        parameters=spec.parameters,
        datasets=(*_inputs(spec.datasets), *_made(job.status.dataset)),
        strategy=spec.strategy,
        resources=spec.resources,
        checkpoints=job.metadata.uid,
        formats=formats_of(spec.output, spec.framework),
        optional_formats=optional_of(spec.output, spec.framework),
        keeps_rows=spec.output is None or spec.output.input_example is InputExample.ROWS,
    )


def _prepare(job: TrainingJob) -> Part:
    spec, prepare = job.spec, job.spec.prepare
    assert prepare is not None
    return Part(
        job=job,
        stage=Stage.PREPARE,
        source=prepare.source or spec.source,
        source_copy=_source_copy(job) if prepare.source is None else f"{_source_copy(job)}-prepare",
        image=prepare.image or spec.image,
        framework=Framework.SCRIPT,
        entrypoint=prepare.entrypoint or "",
        parameters=prepare.parameters,
        datasets=_inputs(prepare.datasets),
        strategy=Strategy(),
        resources=prepare.resources,
        checkpoints=f"{job.metadata.uid}-prepare",
        makes=prepare.output.name,
        tables=prepare.tables,
        resources_field="prepare.resources",
    )


def _evaluate(job: TrainingJob) -> Part:
    spec, evaluate = job.spec, job.spec.evaluate
    assert evaluate is not None
    runs_a_script = evaluate.task is Task.SCRIPT
    own = evaluate.source is not None
    script = Part(
        job=job,
        stage=Stage.EVALUATE,
        source=evaluate.source or spec.source,
        source_copy=f"{_source_copy(job)}-evaluate" if own else _source_copy(job),
        image=evaluate.image or spec.image,
        framework=Framework.SCRIPT,
        entrypoint=evaluate.entrypoint or "",
        parameters=evaluate.parameters,
        datasets=(*_inputs(evaluate.datasets), *_made(job.status.dataset)),
        strategy=Strategy(),
        resources=evaluate.resources,
        checkpoints="",
        judges=_what_is_judged(job, evaluate),
        resources_field="evaluate.resources",
    )
    if runs_a_script:
        return script
    name = evaluate.data.dataset if evaluate.data else ""
    # The first of this name: the stage's own, the prepared one, the training's.
    known = (*script.datasets, *_inputs(spec.datasets))
    return replace(
        script,
        source=Source(),
        source_copy="",
        image=evaluate.image,
        datasets=tuple(one for one in known if one.name == name)[:1],
    )


_PARTS: Mapping[Stage, Callable[[TrainingJob], Part]] = {
    Stage.PREPARE: _prepare,
    Stage.TRAIN: _train,
    Stage.EVALUATE: _evaluate,
}


def _what_is_judged(job: TrainingJob, evaluate: Evaluate) -> judging.Evaluate | None:
    """None before the training has ended: nobody knows the model then."""
    status, known = job.status, job.status.evaluation or EvaluationStatus()
    if status.model is None:
        return None
    data, card, baseline = evaluate.data, evaluate.card, known.baseline
    return judging.Evaluate(
        task=evaluate.task,
        model=judging.EvaluatedModel(status.model.uri or "", status.model.digest or ""),
        baseline=None
        if baseline is None
        else judging.Baseline(baseline.uri, baseline.digest, baseline.version, baseline.alias),
        format=known.format or "",
        data=None
        if data is None
        else judging.EvaluationData(
            dataset=data.dataset,
            path=data.path,
            label=data.label,
            inputs=data.inputs,
            output=data.output,
            weight=data.weight,
            group=data.group,
            positive=data.positive,
        ),
        slices=evaluate.slices,
        sensitive=evaluate.sensitive,
        comparisons=tuple(
            judging.Comparison(gate.metric, gate.slice, float(gate.confidence)) for gate in evaluate.gates
        ),
        card=judging.Card(card.intended_use, card.limits, card.licence),
        parent=status.run.id if status.run else "",
    )


def _source_copy(job: TrainingJob) -> str:
    return f"{job.metadata.name}-source"


def _inputs(datasets: tuple[Dataset, ...]) -> tuple[protocol.Dataset, ...]:
    return tuple(told(one) for one in datasets)


def _made(dataset: PreparedDataset | None) -> tuple[protocol.Dataset, ...]:
    """The dataset of an earlier stage: these bytes, and no others."""
    if dataset is None:
        return ()
    return (protocol.Dataset(dataset.name, dataset.uri, DATA / dataset.name, dataset.digest),)
