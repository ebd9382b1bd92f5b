"""What the run keeps at the end of an attempt, whatever it has made: source, packages and outputs; its curves, drawn.

All of it waits for the network, so the main thread has it done in another one. Without tracking there is no run, and
nothing to keep things with.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from headrace_common.protocol.config import Config
from headrace_common.s3 import SCHEME, Place
from headrace_trainer.launcher.log import log, unforeseen
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.store.s3 import Patience, Store
from headrace_trainer.launcher.tracking import artifacts
from headrace_trainer.launcher.tracking.curves import keep as curves
from headrace_trainer.launcher.tracking.mlflow import MLflow
from headrace_trainer.launcher.tracking.run import Tracker

CURVES_SECONDS = 30.0


class RunFiles:
    """One attempt's."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        store: Store | None,
        client: MLflow | None,
        tracker: Tracker | None,
        stop_at: Callable[[], float | None],
    ) -> None:
        """`stop_at` is when the grace is over; None before a SIGTERM."""
        self._config = config
        self._settings = settings
        self._store = store
        self._client = client
        self._tracker = tracker
        self._stop_at = stop_at

    def keep_artifacts(self, patience: Patience) -> None:
        """Source, packages and outputs, where there is a run to keep them with."""
        run, paths = None if self._tracker is None else self._tracker.run, self._settings.paths
        if self._store is None or self._tracker is None or run is None or not run.artifact_uri.startswith(SCHEME):
            return
        place = Place.parse(run.artifact_uri)
        # What Headrace does by itself runs nothing of the source, which is the training's then.
        source = self._config.source if self._config.entrypoint else None
        try:
            problem = artifacts.keep(source, paths.outputs, paths.packages, place, self._store, patience)
        except Exception as error:  # noqa: BLE001 - they are worth no failure, and nothing that was made
            problem = unforeseen(error)
        if problem:
            log(f"artifacts: {problem}")
            self._tracker.tag({"headrace.warning.artifacts": problem})

    def draw_curves(self, seconds: float) -> None:
        """From what MLflow has, so once all was sent; nothing waits for it longer than that. A SIGTERM ends it: all
        else is delivered, and an attempt that has succeeded is not to be interrupted here.
        """
        run = None if self._tracker is None else self._tracker.run
        if self._store is None or self._client is None or run is None or not run.artifact_uri.startswith(SCHEME):
            return
        deadline, stop_at = time.monotonic() + seconds, self._stop_at()
        patience = Patience(seconds, lambda: time.monotonic() < deadline and self._stop_at() == stop_at)
        try:
            problem = curves.keep(self._client, run, self._store, patience)
        except Exception as error:  # noqa: BLE001 - what was made is delivered
            problem = unforeseen(error)
        if problem:
            log(f"curves: {problem}")
