"""HEADRACE_CONFIG: what the operator tells the launcher, one pod's instructions. Nothing secret is in it.

A launcher reads what operators of earlier and later releases wrote: what it does not know it leaves alone. Instructions
that would then be followed wrongly have the number STAGED, so that a launcher that knows of no stages refuses them,
DECLARED, where it would leave out what is declared of tables, SHAPED, where it would give a script other data,
DISTRIBUTED, where it would run a program of Spark by itself, or TUNED, where it knows of no tuning or would compare
trials that were trained on different data; all others have the number that such a launcher reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from headrace_common import s3
from headrace_common.evaluation import Task
from headrace_common.formats import ModelFormat
from headrace_common.protocol import PROTOCOL
from headrace_common.protocol.claims import DIGEST
from headrace_common.protocol.evaluate import Evaluate, parse_evaluate
from headrace_common.protocol.fields import CannotBeDone, Fields, OtherProtocol, decode, wrong
from headrace_common.protocol.fields import Scalar as Scalar
from headrace_common.protocol.spark import Spark, parse_spark
from headrace_common.protocol.storage import Storage
from headrace_common.protocol.tables import Tables, parse_tables
from headrace_common.protocol.tuning import Tuning, parse_tuning

VARIABLE = "HEADRACE_CONFIG"
# With a stage, or a dataset that has a digest.
STAGED = 2
# With tables: what is to be masked would not be.
DECLARED = 3
# With a dataset that is unpacked, divided or streamed: the script would find what is packed, each worker would have all
# of it, or the disk would be filled.
SHAPED = 4
# With Spark: the program would read and write the pod's own disk.
DISTRIBUTED = 5
# With a stage of tuning; with inputs that were pinned for all trials of one: each trial would read its own.
TUNED = 6
_SPOKEN = (PROTOCOL, STAGED, DECLARED, SHAPED, DISTRIBUTED, TUNED)
Word = TypeVar("Word", bound=StrEnum)
# Addresses that a dataset can have. What is on the web has to have a digest: nothing else tells its bytes from others.
_WEB = "https://"
DATA_SCHEMES = (s3.SCHEME, "gs://", "az://", "webhdfs://", "swebhdfs://", _WEB)
# Of volumes that the pod has mounted.
VOLUME, IMAGE = "pvc://", "oci://"


class Unpack(StrEnum):
    """How what was stored becomes files: by its name, or as one format whatever its name."""

    AUTO = "Auto"
    GZIP = "Gzip"
    ZSTD = "Zstd"
    TAR = "Tar"
    ZIP = "Zip"


class Shard(StrEnum):
    """What each worker gets of a dataset."""

    BY_WORKER = "ByWorker"


class Access(StrEnum):
    """How a script gets at the bytes. What is not said is copied, or mounted."""

    STREAM = "Stream"


class Stage(StrEnum):
    """What the pods of an attempt are for. A job without stages has this one alone: TRAIN."""

    PREPARE = "prepare"
    TRAIN = "train"
    TUNE = "tune"
    EVALUATE = "evaluate"


@dataclass(frozen=True)
class Job:
    """Which TrainingJob, and which of its attempts (from 1)."""

    namespace: str
    name: str
    uid: str
    attempt: int


@dataclass(frozen=True)
class Workers:
    """The gang. `addresses` has one name a worker, fully qualified with a dot at the end; empty for one worker.
    `name_deadline` is in seconds.
    """

    count: int = 1
    port: int = 2222
    addresses: tuple[str, ...] = ()
    name_deadline: float = 120.0


@dataclass(frozen=True)
class Dataset:
    """What is to be at `path` before the script starts. `uri` is of one of DATA_SCHEMES: an object or all below it, or
    a file. With a `digest`, a `sha256:...`, only what has this one is the dataset. One that the pod has mounted is
    found at `mount`; its `uri`, of VOLUME or IMAGE, is only told. Digest and objects are those of what is stored, also
    where that is unpacked.
    """

    name: str
    uri: str
    path: Path
    digest: str = ""
    mount: Path | None = None
    unpack: Unpack | None = None
    shard: Shard | None = None
    access: Access | None = None

    @property
    def is_shaped(self) -> bool:
        """Whether the script finds something else than all that is stored, as it is stored."""
        return self.unpack is not None or self.shard is not None or self.access is not None

    def as_json(self) -> dict[str, str]:
        """As a part of a message."""
        found = {"name": self.name, "uri": self.uri, "path": str(self.path)}
        found |= {"digest": self.digest} if self.digest else {}
        found |= {} if self.unpack is None else {"unpack": str(self.unpack)}
        found |= {} if self.shard is None else {"shard": str(self.shard)}
        found |= {} if self.access is None else {"access": str(self.access)}
        return found | ({} if self.mount is None else {"mount": str(self.mount)})


@dataclass(frozen=True)
class Prepare:
    """The dataset that a stage of preparation makes, by its name: what lies below `uri` is all that was ever made under
    this name, a folder a digest. `image` is the one that the pod runs, a part of what makes two preparations the same.
    With `tables` what is declared of them comes first, and the script, if there is one, after it. With `spark` the
    script is a program of Spark, whose executors read the inputs where they lie.
    """

    name: str
    uri: str
    image: str = ""
    tables: Tables | None = None
    spark: Spark | None = None


@dataclass(frozen=True)
class HeldOut:
    """What an evaluation will read when the training is over: `columns` of the file or folder at `path` of a dataset
    (empty: all of it), each with the field of the spec that names it.
    """

    dataset: Dataset
    path: str
    columns: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        return {"dataset": self.dataset.as_json(), "path": self.path, "columns": dict(self.columns)}


@dataclass(frozen=True)
class Tracking:
    """The MLflow server and the experiment that the run belongs to."""

    url: str
    experiment: str
    experiment_id: str


@dataclass(frozen=True)
class Checkpoints:
    """Where checkpoints go (one folder an attempt below `uri`), how often in seconds, how many to keep; for how many
    seconds a resume may go through data again.
    """

    uri: str
    interval: float
    keep: int
    replay: float


@dataclass(frozen=True)
class Config:
    """One pod's instructions. `gpus` is how many it has asked for; what is None is switched off. Without `keeps_rows`
    no row of the training data leaves the pod with the model. Of `formats` those that are optional are delivered where
    they come, and not missed where they do not. `prepare` is there in a stage of preparation, `evaluate` in one of
    evaluation, `tuning` in one of tuning, and only there; `held_out` before an evaluation. The entrypoint is empty
    where Headrace's own program is what runs. `shared_inputs` is where trials of one tuning write which objects their
    datasets are; empty: it is no trial.
    """

    job: Job
    framework: str
    strategy: str
    gpus: int
    workers: Workers
    source: Path
    entrypoint: str
    parameters: Mapping[str, Scalar]
    datasets: tuple[Dataset, ...]
    storage: Storage | None
    tracking: Tracking | None
    checkpoints: Checkpoints | None
    formats: tuple[str, ...]
    progress_port: int
    keeps_rows: bool = True
    optional_formats: tuple[str, ...] = ()
    stage: Stage = Stage.TRAIN
    prepare: Prepare | None = None
    evaluate: Evaluate | None = None
    tuning: Tuning | None = None
    held_out: HeldOut | None = None
    shared_inputs: str = ""

    @property
    def inputs(self) -> str:
        """Where it is written which objects the datasets are, for all that read the same ones; empty: nowhere."""
        beside = "" if self.checkpoints is None else f"{self.checkpoints.uri}/inputs"
        return self.shared_inputs or beside

    def as_json(self) -> dict[str, Any]:
        """The object as docs/reference/launcher-protocol.md has it."""
        job = self.job
        return {
            "protocol": self._protocol(),
            "job": {"namespace": job.namespace, "name": job.name, "uid": job.uid, "attempt": job.attempt},
            "framework": self.framework,
            "strategy": self.strategy,
            "gpus": self.gpus,
            "workers": _workers_json(self.workers),
            "source": {"path": str(self.source), "entrypoint": self.entrypoint},
            "parameters": dict(self.parameters),
            "progressPort": self.progress_port,
            **self._stage(),
            **self._outside_world(),
        }

    def as_text(self) -> str:
        """The variable's value: the same for the same instructions."""
        return json.dumps(self.as_json(), sort_keys=True)

    def _protocol(self) -> int:
        if self.tuning is not None or (self.shared_inputs and self.datasets):
            return TUNED
        if self.prepare is not None and self.prepare.spark is not None:
            return DISTRIBUTED
        if any(one.is_shaped for one in self.datasets):
            return SHAPED
        if self.prepare is not None and self.prepare.tables is not None:
            return DECLARED
        staged = self.stage is not Stage.TRAIN or self.prepare is not None or self.evaluate is not None
        return STAGED if staged or any(one.digest for one in self.datasets) else PROTOCOL

    def _stage(self) -> dict[str, Any]:
        found: dict[str, Any] = {} if self.stage is Stage.TRAIN else {"stage": str(self.stage)}
        if (prepare := self.prepare) is not None:
            found["prepare"] = {"name": prepare.name, "uri": prepare.uri, "image": prepare.image}
            if prepare.tables is not None:
                found["prepare"]["tables"] = prepare.tables.as_json()
            if prepare.spark is not None:
                found["prepare"]["spark"] = prepare.spark.as_json()
        if self.evaluate is not None:
            found["evaluate"] = self.evaluate.as_json()
        if self.tuning is not None:
            found["tuning"] = self.tuning.as_json()
        if self.held_out is not None:
            found["heldOut"] = self.held_out.as_json()
        return found

    def _outside_world(self) -> dict[str, Any]:
        """What lies outside the pod: datasets, the object store, MLflow, where checkpoints go, what is to come out."""
        found: dict[str, Any] = {"datasets": [one.as_json() for one in self.datasets]}
        if self.storage is not None:
            found["storage"] = self.storage.as_json()
        if (tracking := self.tracking) is not None:
            found["tracking"] = {
                "url": tracking.url,
                "experiment": tracking.experiment,
                "experimentId": tracking.experiment_id,
            }
        if self.shared_inputs:
            found["inputs"] = {"uri": self.shared_inputs}
        if (checkpoints := self.checkpoints) is not None:
            found["checkpoint"] = {
                "uri": checkpoints.uri,
                "intervalSeconds": checkpoints.interval,
                "keep": checkpoints.keep,
                "replaySeconds": checkpoints.replay,
            }
        if self.formats:
            found["output"] = {"formats": [str(name) for name in self.formats]}
            if not self.keeps_rows:
                found["output"]["inputExample"] = "None"
            if self.optional_formats:
                found["output"]["optional"] = [str(name) for name in self.optional_formats]
        return found


def parse_config(text: str) -> Config:
    """The instructions in `text`. Raises NotUnderstood with the place and the fault: OtherProtocol, CannotBeDone."""
    root = Fields(decode(text, VARIABLE), VARIABLE)
    protocol = root.integer("protocol", least=0)
    if protocol not in _SPOKEN:
        spoken = ", ".join(map(str, _SPOKEN))
        raise OtherProtocol(f"the operator speaks protocol {protocol}, this launcher speaks {spoken}")
    job, source = root.object("job"), root.object("source")
    evaluate = parse_evaluate(root.optional("evaluate"), f"{VARIABLE}.evaluate")
    tuning = parse_tuning(root.optional("tuning"), f"{VARIABLE}.tuning")
    judges_by_itself = evaluate is not None and evaluate.task is not Task.SCRIPT
    runs_a_script = not judges_by_itself and tuning is None and not _has_tables(root)
    config = Config(
        job=Job(job.text("namespace"), job.text("name"), job.text("uid"), job.integer("attempt", least=1)),
        framework=root.text("framework", "Keras"),
        strategy=root.text("strategy", "SingleWorker"),
        gpus=root.integer("gpus", least=0, default=0),
        workers=_workers(root.optional("workers")),
        source=Path(source.text("path")),
        entrypoint=source.text("entrypoint", None if runs_a_script else ""),
        parameters=root.scalars("parameters"),
        datasets=tuple(_dataset(one) for one in root.objects("datasets")),
        storage=_storage(root.optional("storage")),
        tracking=_tracking(root.optional("tracking")),
        checkpoints=_checkpoints(root.optional("checkpoint")),
        formats=_formats(root.optional("output"), "formats"),
        progress_port=root.integer("progressPort", least=0, default=9400),
        keeps_rows=_keeps_rows(root.optional("output")),
        optional_formats=_formats(root.optional("output"), "optional"),
        stage=_stage(root.text("stage", Stage.TRAIN)),
        prepare=_prepare(root.optional("prepare")),
        evaluate=evaluate,
        tuning=tuning,
        held_out=_held_out(root.optional("heldOut")),
        shared_inputs=_shared_inputs(root.optional("inputs")),
    )
    _check(config)
    return config


def _workers_json(workers: Workers) -> dict[str, Any]:
    found: dict[str, Any] = {
        "count": workers.count,
        "port": workers.port,
        "nameDeadlineSeconds": workers.name_deadline,
    }
    return found | ({"addresses": list(workers.addresses)} if workers.count > 1 else {})


def _workers(fields: Fields | None) -> Workers:
    if fields is None:
        return Workers()
    count = fields.integer("count", least=1, default=1)
    addresses = fields.items("addresses")
    if count > 1 and (len(addresses) != count or not all(isinstance(a, str) and a for a in addresses)):
        raise wrong(f"{VARIABLE}.workers.addresses", f"{count} names, one a worker", addresses)
    return Workers(
        count=count,
        port=fields.integer("port", least=1, default=2222),
        addresses=tuple(addresses) if count > 1 else (),
        name_deadline=fields.number("nameDeadlineSeconds", default=120.0),
    )


def _dataset(fields: Fields) -> Dataset:
    digest = fields.text("digest", "")
    if digest and not DIGEST.fullmatch(digest):
        raise wrong(f"{VARIABLE}.datasets: digest of {fields.text('name')}", "sha256: and 64 hex digits", digest)
    mount = fields.text("mount", "")
    return Dataset(
        fields.text("name"),
        fields.text("uri"),
        Path(fields.text("path")),
        digest,
        Path(mount) if mount else None,
        _word(fields, "unpack", Unpack),
        _word(fields, "shard", Shard),
        _word(fields, "access", Access),
    )


def _word(fields: Fields, name: str, words: type[Word]) -> Word | None:
    value = fields.text(name, "")
    if value and value not in list(words):
        raise CannotBeDone(
            f"dataset {fields.text('name')}: {name} {value}: this launcher knows {', '.join(words)} only"
        )
    return words(value) if value else None


def _stage(name: str) -> Stage:
    try:
        return Stage(name)
    except ValueError:
        raise CannotBeDone(f"stage {name}: this launcher knows {', '.join(Stage)} only") from None


def _prepare(fields: Fields | None) -> Prepare | None:
    if fields is None:
        return None
    tables, spark = fields.optional("tables"), fields.optional("spark")
    return Prepare(
        fields.text("name"),
        fields.text("uri").rstrip("/"),
        fields.text("image", ""),
        None if tables is None else parse_tables(tables),
        None if spark is None else parse_spark(spark, f"{VARIABLE}.prepare.spark"),
    )


def _held_out(fields: Fields | None) -> HeldOut | None:
    if fields is None:
        return None
    columns = {name: str(field) for name, field in fields.mapping("columns").items()}
    return HeldOut(_dataset(fields.object("dataset")), fields.text("path", ""), columns)


def _has_tables(root: Fields) -> bool:
    """Then it may do without a script."""
    prepare = root.optional("prepare")
    return prepare is not None and prepare.has("tables")


def _storage(fields: Fields | None) -> Storage | None:
    return None if fields is None else Storage(fields.text("endpoint", ""), fields.text("region", s3.DEFAULT_REGION))


def _tracking(fields: Fields | None) -> Tracking | None:
    if fields is None:
        return None
    url = fields.text("url").rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise wrong(f"{VARIABLE}.tracking.url", "an http:// or https:// address", url)
    return Tracking(url, fields.text("experiment", ""), fields.text("experimentId"))


def _checkpoints(fields: Fields | None) -> Checkpoints | None:
    if fields is None:
        return None
    return Checkpoints(
        fields.text("uri").rstrip("/"),
        fields.number("intervalSeconds", default=300.0),
        fields.integer("keep", least=1, default=3),
        fields.number("replaySeconds", default=600.0),
    )


def _shared_inputs(fields: Fields | None) -> str:
    return "" if fields is None else fields.text("uri").rstrip("/")


def _formats(fields: Fields | None, name: str) -> tuple[str, ...]:
    formats = [] if fields is None else fields.items(name)
    for value in formats:
        if value not in list(ModelFormat):
            raise wrong(f"{VARIABLE}.output.{name}", f"made of {' and '.join(ModelFormat)}", value)
    return tuple(formats)


def _keeps_rows(fields: Fields | None) -> bool:
    value = "Rows" if fields is None else fields.text("inputExample", "Rows")
    if value not in ("Rows", "None"):
        raise wrong(f"{VARIABLE}.output.inputExample", "Rows or None", value)
    return value == "Rows"


def _check(config: Config) -> None:
    """What each part is well-formed for, but cannot be done together."""
    wants_storage = [f"dataset {one.name}" for one in config.datasets if one.uri.startswith(s3.SCHEME)]
    wants_storage += ["checkpoint"] if config.checkpoints else []
    wants_storage += ["output"] if config.formats else []
    wants_storage += ["prepare"] if config.prepare else []
    wants_storage += ["evaluate"] if config.evaluate else []
    wants_storage += ["tuning"] if config.tuning else []
    wants_storage += ["inputs"] if config.shared_inputs else []
    if wants_storage and config.storage is None:
        raise CannotBeDone(f"{', '.join(wants_storage)}: there is no storage to read from or write to")
    if config.formats and config.tracking is None:
        raise CannotBeDone("output: a model is kept with its run, and there is no tracking")
    if (config.stage is Stage.PREPARE) != (config.prepare is not None):
        raise CannotBeDone("prepare: a stage of preparation has it, and no other stage")
    tables = None if config.prepare is None else config.prepare.tables
    if tables is not None and tables.dataset not in {one.name for one in config.datasets}:
        raise CannotBeDone(f"prepare.tables: dataset {tables.dataset} is none of those that are fetched")
    if config.prepare is not None and config.prepare.spark is not None:
        elsewhere = [one.name for one in config.datasets if not one.uri.startswith(s3.SCHEME)]
        if elsewhere:
            raise CannotBeDone(f"prepare.spark: executors read {s3.SCHEME} only, not dataset {elsewhere[0]}")
    if (config.stage is Stage.EVALUATE) != (config.evaluate is not None):
        raise CannotBeDone("evaluate: a stage of evaluation has it, and no other stage")
    if (config.stage is Stage.TUNE) != (config.tuning is not None):
        raise CannotBeDone("tuning: a stage of tuning has it, and no other stage")
    if config.tuning is not None and config.tracking is None:
        raise CannotBeDone("tuning: what comes of trials is kept in runs, and there is no tracking")
    if config.evaluate is not None and config.tracking is None:
        raise CannotBeDone("evaluate: what is measured is kept in a run, and there is no tracking")
    judged = (config.evaluate.model, config.evaluate.baseline) if config.evaluate is not None else ()
    if config.held_out is not None:
        _check_dataset(config.held_out.dataset)
    for one in config.datasets:
        _check_dataset(one)
        if one.shard is not None and config.workers.count > 1 and config.checkpoints is None:
            raise CannotBeDone(
                f"dataset {one.name}: shard: worker 0 tells the others what there is to be divided beside the "
                "checkpoints, and there are none (the job has no bucket)"
            )
    for uri in [model.uri for model in judged if model is not None]:
        if not s3.is_uri(uri):
            raise CannotBeDone(f"{uri}: this launcher reads models from s3://BUCKET/KEY only")
    written = [place.uri for place in (config.checkpoints, config.prepare) if place is not None]
    if config.prepare is not None and config.prepare.spark is not None:
        written.append(config.prepare.spark.staging)
    written += filter(None, [config.shared_inputs])
    for uri in written:
        if not s3.is_uri(uri):
            raise CannotBeDone(f"{uri}: this launcher writes to s3://BUCKET/KEY only")


def _check_dataset(one: Dataset) -> None:
    if one.mount is not None:
        if one.is_shaped:
            raise CannotBeDone(f"dataset {one.name}: a volume is mounted as it is: not unpacked, divided or streamed")
        return
    is_known = s3.is_uri(one.uri) if one.uri.startswith(s3.SCHEME) else one.uri.startswith(DATA_SCHEMES)
    if not is_known:
        raise CannotBeDone(f"{one.uri}: this launcher reads datasets from {', '.join(DATA_SCHEMES)} only")
    if one.access is Access.STREAM and (one.unpack is not None or one.uri.startswith(_WEB)):
        raise CannotBeDone(f"dataset {one.name}: what is unpacked, or of the web, is read whole and not streamed")
    if one.uri.startswith(_WEB) and not one.digest:
        raise CannotBeDone(f"dataset {one.name}: an address of the web has a digest")
