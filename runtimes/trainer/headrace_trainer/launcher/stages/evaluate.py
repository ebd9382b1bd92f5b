"""An evaluation: what its success leaves are measurements of a model that was made before, and a card of it.

Headrace's own tasks are a process of their own (headrace_trainer.evaluation), with Script it is the user's program. The
models are fetched here, so that what is judged is what the digests say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from headrace_common.evaluation import FOLDER, OF_JOB, Task, metric_key
from headrace_common.protocol.evaluate import Evaluate
from headrace_common.protocol.parts import EvaluationReference
from headrace_common.protocol.reasons import Reason
from headrace_common.protocol.report import State
from headrace_common.tags import (
    BASELINE_DIGEST_TAG,
    BASELINE_VERSION_TAG,
    DESCRIPTION_TAG,
    EVALUATED_CLASS_TAG,
    EVALUATED_DIGEST_TAG,
    MODEL_METRICS_TAG,
)
from headrace_trainer.evaluation.instructions import Instructions
from headrace_trainer.launcher.failures.judge import Failed, bad_config
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.model import chosen, fetch
from headrace_trainer.launcher.report import milliseconds
from headrace_trainer.launcher.script import Script
from headrace_trainer.launcher.stages import found
from headrace_trainer.launcher.stages.kind import Stage, Surroundings
from headrace_trainer.launcher.stages.results import keep_results, left_nothing
from headrace_trainer.launcher.store.s3 import Patience, Store
from headrace_trainer.launcher.tracking import beside
from headrace_trainer.launcher.tracking.files import CURVES_SECONDS
from headrace_trainer.launcher.tracking.metrics import Metric
from headrace_trainer.launcher.tracking.mlflow import MLflow, UsedDataset
from headrace_trainer.launcher.tracking.run import Tracker

_CARD = "model_card.md"
_MOST_OF_CARD = 4800  # characters that MLflow has room for


class Evaluating(Stage):
    """One attempt's."""

    use_of_inputs = "evaluation"
    lists_inputs = True
    working = State.EVALUATING

    def __init__(self, around: Surroundings) -> None:
        evaluate, store = around.config.evaluate, around.store
        if evaluate is None or store is None or around.tracker is None or around.client is None:
            raise RuntimeError("a configuration of this stage says what to evaluate, and has a storage and a run")
        self._around = around
        self._evaluate: Evaluate = evaluate
        self._store: Store = store
        self._tracker: Tracker = around.tracker
        self._client: MLflow = around.client
        self._is_ours = evaluate.task is not Task.SCRIPT

    def begin(self, inputs: Sequence[UsedDataset]) -> None:
        """Raises Failed where a model is not the one that was meant."""
        evaluate, paths, outage = self._evaluate, self._around.settings.paths, self._around.settings.outage
        wanted = fetch.of_format(evaluate.format) if self._is_ours else fetch.whole
        fetch.fetch_candidate(evaluate.model, paths.model, wanted, self._store, outage)
        if (baseline := evaluate.baseline) is not None:
            named = f"version {baseline.version} ({baseline.alias})"
            fetch.fetch_baseline(baseline, named, paths.baseline, wanted, self._store, outage)
        self._tracker.tag(_tags(evaluate))
        if self._is_ours:
            paths.results.mkdir(parents=True, exist_ok=True)
            paths.evaluation.write_text(self._instructions(inputs).as_text())

    def has_enough(self) -> bool:
        """All numbers are there before anything is explained."""
        is_explaining = self._is_ours and self._evaluate.explain is not None
        return is_explaining and found.is_left(self._around.settings.paths.results)

    def deliver(self, script: Script) -> None:
        """Raises Failed where nothing was measured, too."""
        around, evaluate = self._around, self._evaluate
        samples, explained, whole = self._of_ours() if self._is_ours else (0, 0, dict(around.report.metrics.latest))
        baseline = "" if evaluate.baseline is None else evaluate.baseline.digest
        if not self._is_ours:
            # The run keeps what an attempt that failed has logged of the same names and steps.
            self._tracker.tag({MODEL_METRICS_TAG: chosen.as_text(_gated_first(evaluate, whole))})
        around.report.evaluation = EvaluationReference(evaluate.model.digest, baseline, samples, explained)
        around.files.keep_artifacts(Patience(around.settings.outage))
        of_job = {f"{OF_JOB}{name}": value for name, value in whole.items()}
        beside.log_metrics(self._client, evaluate.parent, of_job, around.settings.outage)
        self._tracker.close("FINISHED", around.settings.outage)
        if not self._is_ours:
            around.files.draw_curves(CURVES_SECONDS)

    def _of_ours(self) -> tuple[int, int, Mapping[str, float]]:
        """How many rows were judged, how many explained, and what was measured on all of them."""
        report, folder = self._around.report, self._around.settings.paths.results
        measured = found.read(folder)
        if measured is None:
            raise Failed(left_nothing(Reason.EVALUATION_FAILED, "process of the evaluation", "measurements"))
        place = keep_results(folder, FOLDER, self._tracker, self._store, self._around.settings.outage)
        log(f"what the evaluation has found is kept at {place}")
        now = milliseconds()
        self._tracker.log([Metric(key, value, now, 0) for key, value in measured.metrics.items()])
        report.metrics.latest.update(measured.whole)
        if measured.of_class:
            self._tracker.tag({EVALUATED_CLASS_TAG: measured.of_class})
        if (card := folder / _CARD).is_file():
            self._tracker.tag({DESCRIPTION_TAG: _shortened(card.read_text())})
        return measured.samples, measured.explained, measured.whole

    def _instructions(self, inputs: Sequence[UsedDataset]) -> Instructions:
        config, paths, evaluate = self._around.config, self._around.settings.paths, self._evaluate
        name = "" if evaluate.data is None else evaluate.data.dataset
        dataset = next((one for one in config.datasets if one.name == name), None)
        if dataset is None:
            raise Failed(
                bad_config(
                    f"evaluate.data.dataset is {name}, and there is no dataset of this name",
                    "Name a dataset of evaluate.datasets or spec.datasets, or prepare.output.name.",
                )
            )
        return Instructions(
            evaluate=evaluate,
            dataset=dataset.path,
            model=paths.model,
            baseline=None if evaluate.baseline is None else paths.baseline,
            results=paths.results,
            seed=int.from_bytes(hashlib.sha256(evaluate.model.digest.encode()).digest()[:4], "big"),
            about=self._about(next((one.digest for one in inputs if one.name == name), "")),
        )

    def _about(self, dataset_digest: str) -> dict[str, object]:
        """What the card says of the training."""
        job, evaluate = self._around.config.job, self._evaluate
        run = beside.read(self._client, evaluate.training or evaluate.parent)
        found: dict[str, object] = {"name": job.name, "job": f"{job.namespace}/{job.name}"}
        if dataset_digest:
            found["datasetDigest"] = f"sha256:{dataset_digest}"
        if run is not None:
            plain = {key: value for key, value in run.values.items() if "/" not in key}
            found |= {"run": run.id, "parameters": dict(run.params), "trainingMetrics": plain}
        return found


def _tags(evaluate: Evaluate) -> dict[str, str]:
    tags = {EVALUATED_DIGEST_TAG: evaluate.model.digest}
    if (baseline := evaluate.baseline) is not None:
        tags |= {BASELINE_DIGEST_TAG: baseline.digest, BASELINE_VERSION_TAG: baseline.version}
    return tags


def _gated_first(evaluate: Evaluate, measured: Mapping[str, float]) -> Mapping[str, float]:
    """A tag has not room for any number of metrics."""
    gated = tuple(metric_key(one.metric, one.slice) for one in evaluate.comparisons)
    return dict(sorted(measured.items(), key=lambda one: not one[0].endswith(gated)))


def _shortened(card: str) -> str:
    """The card as the run's description: without its pictures, which lie beside it, and cut at the end of a line."""
    text = card.partition("\n## Pictures\n")[0].rstrip()
    if len(text) > _MOST_OF_CARD:
        text = text[:_MOST_OF_CARD].rpartition("\n")[0].rstrip()
    return f"{text}\n\nThe whole card: `{FOLDER}/{_CARD}` of the run's artifacts.\n"
