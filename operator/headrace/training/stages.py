"""The stages of a TrainingJob, and the part of the job that each of them runs (pure).

A stage is a run of the same attempts: what is rendered, observed, restarted and told of an attempt is made of the
`Part` of its stage. What the success of one comes to is looked up in `phases/succeeded`, what the status says of each
in `stage_status`. A job without `spec.prepare` and `spec.evaluate` has one stage, the training, and its status does not
speak of stages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from headrace.api.common import Resources
from headrace.api.explain import Explain
from headrace.api.frameworks import Framework
from headrace.api.spark import Spark
from headrace.api.tables import Tables
from headrace.api.trainingjob import (
    Dataset,
    Evaluate,
    EvaluationStatus,
    InputExample,
    PreparedDataset,
    PrepareType,
    Source,
    Stage,
    Strategy,
    TrainingJob,
    TrainingJobSpec,
    TrainingJobStatus,
)
from headrace.training.deadline import remaining_seconds
from headrace.training.explained import is_left_out
from headrace.training.formats import formats_of, optional_of
from headrace.training.inputs import DATA, told
from headrace.training.tuning.space import tuning_of
from headrace.training.tuning.trial import is_orphan, is_trial, tuned_by
from headrace_common.evaluation import Task
from headrace_common.protocol import config as protocol
from headrace_common.protocol import evaluate as judging
from headrace_common.protocol.tuning import Tuning

_PREPARED = re.compile(r"s3://[^/]+/headrace/datasets/[^/]+/([0-9a-f]{64})/")
# What a stage does, as a word in texts for people.
_WORK: Mapping[Stage, str] = {
    Stage.PREPARE: "preparation",
    Stage.TRAIN: "training",
    Stage.TUNE: "tuning",
    Stage.EVALUATE: "evaluation",
}


@dataclass(frozen=True)
class Part:
    """What one stage runs: all of a job that is not the same in each of its stages.

    `source_copy` is the name of the pinned copy of the source, `image` is empty for the release's, `checkpoints` the
    name of their folder (empty: there are none), `shares_inputs` that of the folder which says what all trials of a job
    read (empty: it is no trial), `makes` that of the dataset that comes out, where one does, and
    `tables` what is declared of it, `spark` how it is spread, where it is; `judges` is what is judged, where something
    is, and `tunes` what is tuned: source and entrypoint are then those of the trials. `held_out` is what a later stage
    judges on. `resources_field` is where the spec has `resources`. Source, its copy and the entrypoint are empty where
    Headrace's own program is what runs.
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
    shares_inputs: str = ""
    formats: tuple[str, ...] = ()
    optional_formats: tuple[str, ...] = ()
    keeps_rows: bool = True
    makes: str = ""
    tables: Tables | None = None
    spark: Spark | None = None
    judges: judging.Evaluate | None = None
    tunes: Tuning | None = None
    held_out: protocol.HeldOut | None = None
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
    return (*before, Stage.TRAIN if spec.tuning is None else Stage.TUNE, *after)


def told_to_launchers(stage: Stage) -> protocol.Stage:
    """The stage in the protocol's words: the same name in lower case."""
    return protocol.Stage(stage.lower())


def has_stages(spec: TrainingJobSpec) -> bool:
    """Whether the job has more than its training, or something else."""
    return stages_of(spec) != (Stage.TRAIN,)


def stage_of(job: TrainingJob) -> Stage:
    """The stage under way, or the last one; before there was any, the first."""
    return job.status.stage or stages_of(job.spec)[0]


def part_of(job: TrainingJob) -> Part:
    """What the stage under way runs."""
    return _PARTS[stage_of(job)](job)


def training_of(job: TrainingJob) -> Part:
    """The training itself, whichever stage is under way: of a job with trials what each of them runs."""
    return _PARTS[Stage.TRAIN](job)


def parts_to_come(job: TrainingJob) -> tuple[Part, ...]:
    """What the stage under way and those after it run."""
    stages = stages_of(job.spec)
    return tuple(_PARTS[stage](job) for stage in stages[stages.index(stage_of(job)) :])


def entrypoints(job: TrainingJob) -> tuple[str, ...]:
    """The scripts that the source of the stage under way has to have: those of later stages that run from it, too."""
    copy = part_of(job).source_copy
    return tuple(part.entrypoint for part in parts_to_come(job) if part.source_copy == copy and part.entrypoint)


def digest_in(uri: str) -> str:
    """The digest of a prepared dataset, by the name of its folder; empty where it is none."""
    found = _PREPARED.fullmatch(uri)
    return "" if found is None else f"sha256:{found[1]}"


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
        datasets=(*_of_training(job), *_made(job.status.dataset)),
        strategy=spec.strategy,
        resources=spec.resources,
        checkpoints=job.metadata.uid,
        shares_inputs=tuned_by(job),
        formats=formats_of(spec.output, spec.framework),
        optional_formats=optional_of(spec.output, spec.framework),
        keeps_rows=spec.output is None or spec.output.input_example is InputExample.ROWS,
        held_out=_held_out(job, mounted=_inputs(job.spec.datasets)),
    )


def _prepare(job: TrainingJob) -> Part:
    spec, prepare = job.spec, job.spec.prepare
    assert prepare is not None
    return Part(
        job=job,
        stage=Stage.PREPARE,
        source=prepare.source or spec.source,
        source_copy=_source_copy(job) if prepare.source is None else f"{_source_copy(job)}-prepare",
        # That of the training has no Spark.
        image=prepare.image or ("" if prepare.type is PrepareType.SPARK else spec.image),
        framework=Framework.SCRIPT,
        entrypoint=prepare.entrypoint or "",
        parameters=prepare.parameters,
        datasets=_inputs(prepare.datasets),
        strategy=Strategy(),
        resources=prepare.resources,
        checkpoints=f"{job.metadata.uid}-prepare",
        makes=prepare.output.name,
        tables=prepare.tables,
        spark=(prepare.spark or Spark()) if prepare.type is PrepareType.SPARK else None,
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
    return replace(script, source=Source(), source_copy="", image=evaluate.image, datasets=_judged_on(job, evaluate))


def _tune(job: TrainingJob) -> Part:
    """The pod that chooses parameters is Headrace's own program, in the release's image. The source is pinned here for
    all trials.
    """
    spec = job.spec
    assert spec.tuning is not None
    return Part(
        job=job,
        stage=Stage.TUNE,
        source=Source() if spec.source.config_map is None else spec.source,
        source_copy=_source_copy(job),
        image="",
        framework=Framework.SCRIPT,
        entrypoint=spec.entrypoint,
        parameters={},
        datasets=(),
        strategy=Strategy(),
        resources=spec.tuning.resources,
        checkpoints="",
        tunes=tuning_of(spec),
        held_out=_held_out(job, mounted=()),
        resources_field="tuning.resources",
    )


def _judged_on(job: TrainingJob, evaluate: Evaluate) -> tuple[protocol.Dataset, ...]:
    """The first of its name: the stage's own, the prepared one, the training's."""
    name = evaluate.data.dataset if evaluate.data else ""
    known = (*_inputs(evaluate.datasets), *_made(job.status.dataset), *_inputs(job.spec.datasets))
    return tuple(one for one in known if one.name == name)[:1]


def _held_out(job: TrainingJob, mounted: tuple[protocol.Dataset, ...]) -> protocol.HeldOut | None:
    """None where a pod that has these datasets has no way to look at it: a volume that it does not mount, a file of
    the web, which is fetched as a whole, and what has to be unpacked first.
    """
    evaluate = job.spec.evaluate
    if evaluate is None or evaluate.data is None:
        return None
    data = evaluate.data
    asked = {data.label: "evaluate.data.label"}
    asked |= {name: "evaluate.data.weight" for name in [data.weight] if name}
    asked |= {name: "evaluate.data.group" for name in [data.group] if name}
    asked |= {name: f"evaluate.data.inputs.{of}" for of, names in data.inputs.items() for name in names}
    asked |= dict.fromkeys(evaluate.sensitive, "evaluate.sensitive") | dict.fromkeys(evaluate.slices, "evaluate.slices")
    for one in _judged_on(job, evaluate):
        is_mounted_here = one.mount is None or one in mounted
        if is_mounted_here and one.unpack is None and not one.uri.startswith("https://"):
            return protocol.HeldOut(one, data.path, asked)
    return None


_PARTS: Mapping[Stage, Callable[[TrainingJob], Part]] = {
    Stage.PREPARE: _prepare,
    Stage.TRAIN: _train,
    Stage.TUNE: _tune,
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
        training=_best_run(status),
        explain=_explain(job, evaluate.explain),
    )


def _best_run(status: TrainingJobStatus) -> str:
    """The run of the trial whose model is judged; empty where the job's own has made it."""
    best = status.tuning.best if status.tuning else None
    return (best.run if best else None) or ""


def _explain(job: TrainingJob, explain: Explain | None) -> judging.Explain | None:
    if explain is None or is_left_out(job.status):
        return None
    # What explains is to end before Kubernetes ends the evaluation for it.
    left = remaining_seconds(job)
    seconds = round(explain.deadline.total_seconds())
    return judging.Explain(
        method=explain.method,
        samples=explain.samples,
        target=explain.target,
        background=explain.background,
        budget=explain.budget,
        importance=explain.importance,
        values=explain.values,
        deadline_seconds=seconds if left is None else max(1, min(seconds, left // 2)),
    )


def _source_copy(job: TrainingJob) -> str:
    return f"{job.metadata.name}-source"


def _inputs(datasets: tuple[Dataset, ...]) -> tuple[protocol.Dataset, ...]:
    return tuple(told(one) for one in datasets)


def _of_training(job: TrainingJob) -> tuple[protocol.Dataset, ...]:
    """A trial is told of the dataset that its job has prepared by its address, which says its digest, too."""
    found = _inputs(job.spec.datasets)
    if not (is_trial(job) or is_orphan(job)):
        return found
    return tuple(replace(one, digest=one.digest or digest_in(one.uri)) for one in found)


def _made(dataset: PreparedDataset | None) -> tuple[protocol.Dataset, ...]:
    """The dataset of an earlier stage: these bytes, and no others."""
    if dataset is None:
        return ()
    return (protocol.Dataset(dataset.name, dataset.uri, DATA / dataset.name, dataset.digest),)
