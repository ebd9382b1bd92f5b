"""A stage as the order of things sees it, and what each of them is made of."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from headrace_common.protocol.config import Config, Dataset
from headrace_common.protocol.report import State
from headrace_trainer.launcher.datasets.objects import Object
from headrace_trainer.launcher.report import Report
from headrace_trainer.launcher.script import Script
from headrace_trainer.launcher.settings import Settings
from headrace_trainer.launcher.store.s3 import Store
from headrace_trainer.launcher.tracking.files import RunFiles
from headrace_trainer.launcher.tracking.mlflow import MLflow, UsedDataset
from headrace_trainer.launcher.tracking.run import Tracker


@dataclass(frozen=True)
class Surroundings:
    """What a stage has to work with; what it has made is told in `report`. Without storage or tracking there is
    neither store nor tracker, nor the `client` of its server.
    """

    config: Config
    settings: Settings
    store: Store | None
    tracker: Tracker | None
    report: Report
    files: RunFiles
    client: MLflow | None = None


class Stage(Protocol):
    """What differs by stage, with the answers that most of them give. Every method may wait for the network, in a
    thread of its own, and raise Failed.

    use_of_inputs   what the run's list of inputs says that they are for
    lists_inputs    whether what is made says of what it was made: their digests are then needed without a run, too
    working         what is being done while its script runs
    reads_in_place  its inputs are read by its script where they lie, and not fetched
    """

    use_of_inputs: str
    lists_inputs: bool
    working: State
    reads_in_place: bool = False

    def is_made_already(self) -> bool:
        """Whether what the script is to make is there: then nothing is fetched, installed or run. Asked once, when the
        run is there.
        """
        return False

    @property
    def work(self) -> str:
        """A name of what is to be done, where a job may come to do something else: a checkpoint of the one is none of
        the other. Empty where it is always the same. Known once `is_made_already` was asked.
        """
        return ""

    def pinned(self, dataset: Dataset) -> Sequence[Object] | None:
        """The objects of an input that are to be fetched, each as it was when it was listed, where that counts; None:
        what there is. Known once `is_made_already` was asked.
        """
        return None

    def begin(self, inputs: Sequence[UsedDataset]) -> None:
        """The datasets are there, and the script is about to start. Called where it is not made already."""

    def has_enough(self) -> bool:
        """Whether a script that did not end well has left what it is for: what it failed at was only beside it."""
        return False

    @abstractmethod
    def deliver(self, script: Script) -> None:
        """The chief's, after a script that ended well, or none: what was made goes to the store, and the run is
        closed.
        """
        ...

    def tidy(self, seconds: float) -> None:
        """After an attempt that came to nothing: what it has left in the store, and nobody looks at, is taken away as
        far as the time goes. Raises nothing that was foreseen.
        """
