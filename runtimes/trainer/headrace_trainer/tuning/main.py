"""The order of things: answer the operator until it says that there will be no more trials, then put together what all
of them came to. What is wrong is a fault of Headrace, with a traceback.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from headrace_common.protocol.trials import Answer, Ask
from headrace_trainer.launcher.log import log
from headrace_trainer.launcher.store.s3 import Store
from headrace_trainer.launcher.tracking.mlflow import MLflow
from headrace_trainer.tuning import results
from headrace_trainer.tuning.instructions import VARIABLE, Instructions, read_instructions
from headrace_trainer.tuning.models import Models
from headrace_trainer.tuning.reports import Reports
from headrace_trainer.tuning.runs import Runs
from headrace_trainer.tuning.server import TrialServer
from headrace_trainer.tuning.study import suggest, to_prune


def main() -> int:
    """As the launcher starts it."""
    tune(read_instructions(Path(os.environ[VARIABLE])))
    return 0


def tune(instructions: Instructions) -> None:
    """Returns when what came of all trials is in `instructions.results`."""
    tuning = instructions.tuning
    username = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    client = MLflow(instructions.url, username, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))
    runs = Runs(client, instructions.run)
    models = Models(client, Store(instructions.storage), instructions.outage)
    reports = None if tuning.pruner is None else Reports(client, tuning.metric)
    last: list[Ask] = []
    wrong: list[Exception] = []
    over = threading.Event()

    def answer(asked: Ask) -> Answer:
        try:
            return choose(asked)
        except Exception as error:
            # The next question would be answered no better: the program ends with it, as any script does.
            wrong.append(error)
            over.set()
            raise

    def choose(asked: Ask) -> Answer:
        runs.take(asked.trials)
        models.take(asked.trials)
        if asked.is_last and not over.is_set():
            last.append(asked)
            over.set()
        if reports is not None:
            reports.take(asked.trials)
        chosen = suggest(tuning, asked.trials, asked.wanted)
        pruned = () if reports is None else reports.compared(lambda known: to_prune(tuning, asked.trials, known))
        for number, parameters in chosen.items():
            log(f"trial {number}: " + " ".join(f"--{name}={value}" for name, value in parameters.items()))
        return Answer(chosen, pruned)

    TrialServer(instructions.bind, tuning.port, answer).start()
    log(f"up to {tuning.trials} trials are chosen by {tuning.sampler} for {tuning.metric} ({tuning.goal})")
    over.wait()
    if wrong:
        raise wrong[0]
    if not runs.wait(instructions.outage):
        log("MLflow stays away: some runs of trials are not below the job's")
    if not models.wait(instructions.outage):
        log("MLflow or the store stays away: some models stay in the bucket that are none of the best")
    results.leave(instructions.results, tuning, last[0].trials)
