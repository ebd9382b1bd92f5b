"""A model that can `evolve` takes its own fields, with their own types: what the type checker holds callers to."""

from collections.abc import Iterator
from typing import get_args, get_type_hints

import pytest

from headrace.api.base import Model
from headrace.api.modelservice import ModelService
from headrace.api.trainingjob import Attempt, State, TrainingJob, TrainingJobStatus

KINDS = (TrainingJob, ModelService)  # with them all their parts are imported


def models(base: type[Model] = Model) -> Iterator[type[Model]]:
    for model in base.__subclasses__():
        yield model
        yield from models(model)


EVOLVING = [model for model in models() if "evolve" in vars(model)]


@pytest.mark.parametrize("model", EVOLVING, ids=lambda model: model.__name__)
def test_what_may_be_changed_is_what_the_model_has(model):
    [changes] = get_args(get_type_hints(model.evolve)["changes"])

    hints = get_type_hints(model)
    assert get_type_hints(changes) == {name: hints[name] for name in model.model_fields}


def test_what_is_not_named_stays():
    status = TrainingJobStatus(state=State.RUNNING, reason="Training", attempt=Attempt(number=1, job="text-1"))

    after = status.evolve(reason="Ending", message=None)

    assert (after.state, after.reason, after.message, after.attempt) == (State.RUNNING, "Ending", None, status.attempt)
    assert status.reason == "Training"
