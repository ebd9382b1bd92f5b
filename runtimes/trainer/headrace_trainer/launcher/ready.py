"""What has to be there before the script starts, in this order: the entrypoint, the gang's names, the run, the
checkpoint to go on from, in the first attempt the columns that the model will be judged on, the packages, the datasets.
Where the run is there and so is what the script is to make, that is all. Runs in a thread of its own, so that the
launcher answers and can be stopped meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from headrace_common.protocol.config import Access, Config, Dataset
from headrace_common.protocol.config import Stage as Stages
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.report import State
from headrace_trainer.launcher import fontcache
from headrace_trainer.launcher.datasets import download, mounted, sharding
from headrace_trainer.launcher.datasets.objects import address_of, digest_of_objects
from headrace_trainer.launcher.datasets.origins.choose import origin_of
from headrace_trainer.launcher.datasets.streams import Streamed, Streams
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.held_out import check_columns
from headrace_trainer.launcher.packages.install import Packages
from headrace_trainer.launcher.peers import wait_for_names
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.source import check_entrypoint
from headrace_trainer.launcher.stages.kind import Stage
from headrace_trainer.launcher.store.checkpoints import CheckpointStore, Stored
from headrace_trainer.launcher.store.digests import PREFIX
from headrace_trainer.launcher.store.s3 import Patience, Store
from headrace_trainer.launcher.tracking.mlflow import UsedDataset
from headrace_trainer.launcher.tracking.run import Tracker

_REPLAYED_METRIC = "loss"
PREVIOUS_STEPS = "steps.jsonl"


@dataclass(frozen=True)
class Ready:
    """From which checkpoint to go on, if there is one (it lies in the folder `Paths.resume`). No script is due where
    what it makes is there already. `streams` are the datasets that it reads as they come.
    """

    resume: Stored | None = None
    script_is_due: bool = True
    streams: Streams | None = None


def get_ready(
    config: Config,
    settings: Settings,
    stage: Stage,
    store: Store | None,
    checkpoints: CheckpointStore | None,
    tracker: Tracker | None,
    packages: Packages,
    enter: Callable[[State], None],
) -> Ready:
    """Raises Failed with the first thing that is not as it has to be. `enter` is told what is being done."""
    check_entrypoint(config)
    paths = settings.paths
    of_stage = (
        [paths.prepared, paths.tables]
        if config.prepare
        else [paths.results]
        if config.evaluate or config.tuning
        else []
    )
    for folder in (paths.checkpoints, paths.export, paths.trace, *of_stage):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    paths.outputs.mkdir(exist_ok=True)
    fontcache.lay_out(os.environ)
    wait_for_names(config.workers.addresses, config.workers.name_deadline)
    if tracker is not None:
        tracker.start()
    if stage.is_made_already():
        return Ready(script_is_due=False)
    if checkpoints is not None and stage.work:
        checkpoints.keep_apart(stage.work)
    stored = None if checkpoints is None else _resume(settings, checkpoints)
    # After the others were told where to go on from: they wait for that as long as for a store that is away.
    if config.held_out is not None and settings.worker == 0 and config.job.attempt == 1:
        check_columns(config.held_out, store)
    if stored is not None and tracker is not None:
        tracker.take_unsent(settings.paths.resume)
        _write_previous_steps(settings, stored, tracker)
    if packages.are_asked_for:
        enter(State.INSTALLING)
        packages.install()
        enter(State.PREPARING)
    streams = Streams()
    stage.begin([_fetch(dataset, config, stage, settings, store, tracker, streams) for dataset in config.datasets])
    return Ready(stored, streams=streams)


def _fetch(
    dataset: Dataset,
    config: Config,
    stage: Stage,
    settings: Settings,
    store: Store | None,
    tracker: Tracker | None,
    streams: Streams,
) -> UsedDataset:
    """The dataset, as it is to be. Its digest takes a second or two a GiB, and is empty where nobody wants it: without
    a run, of a worker that is not the chief.
    """
    pinned = None if dataset.digest else stage.pinned(dataset)
    if stage.reads_in_place:
        sha256 = dataset.digest.removeprefix(PREFIX) or digest_of_objects(pinned or ())
    elif dataset.mount is not None:
        sha256 = mounted.attach(dataset, dataset.mount, pinned)
    else:
        origin = origin_of(dataset, store, settings.outage)
        objects = origin.objects(dataset) if pinned is None else pinned
        mine = sharding.share(dataset, objects, settings.worker, config.workers.count)
        is_streamed = dataset.access is Access.STREAM and config.stage is Stages.TRAIN
        if is_streamed:
            streams.serve(Streamed(dataset, mine, origin))
        sums = {} if is_streamed else download.download(dataset, mine, origin)
        if is_streamed or len(mine) < len(objects):  # nobody reads all of it
            sha256 = digest_of_objects(objects)
        else:
            is_wanted = dataset.digest or stage.lists_inputs or tracker is not None
            sha256 = download.digest_of_stored(dataset, sums) if is_wanted else ""
            download.check(dataset, sha256)
    used = UsedDataset(dataset.name, sha256, address_of(dataset), stage.use_of_inputs)
    if tracker is not None:
        tracker.log_dataset(used)
    return used


def _resume(settings: Settings, checkpoints: CheckpointStore) -> Stored | None:
    """The chief tries its candidates until one is whole, and says which; the others take that one."""
    patience = Patience(settings.outage)
    if settings.worker > 0:
        chosen = checkpoints.await_choice(patience)
        stored = None if chosen is None else checkpoints.download(chosen, settings.paths.resume, patience)
        if chosen is not None and stored is None:
            raise Failed(
                Failure(
                    Reason.STORAGE_UNAVAILABLE,
                    f"the checkpoint {chosen}, from which worker 0 resumes, cannot be read completely by this worker",
                    "The next attempt chooses a checkpoint anew. If this happens again, check the S3 store.",
                )
            )
        return stored
    for candidate in checkpoints.choose(patience):
        stored = checkpoints.download(candidate, settings.paths.resume, patience)
        if stored is not None:
            checkpoints.publish(candidate, patience)
            return stored
    checkpoints.publish(None, patience)
    return None


def _write_previous_steps(settings: Settings, stored: Stored, tracker: Tracker) -> None:
    """Losses that the run has of steps after the checkpoint: the script's process compares them with those of the
    replay.
    """
    lines = []
    for step, loss in sorted(tracker.history(_REPLAYED_METRIC)):
        of_fit = step - stored.base.steps
        if of_fit > stored.step:
            epoch = (of_fit - 1) // stored.steps_per_epoch if stored.steps_per_epoch else None
            lines.append(json.dumps({"fit": stored.fit, "epoch": epoch, "step": of_fit, _REPLAYED_METRIC: loss}))
    (settings.paths.trace / PREVIOUS_STEPS).write_text("".join(f"{line}\n" for line in lines))
