"""Keras on TensorFlow, as an adapter. TensorFlow is imported when the script has imported Keras, never before: a script
that does without it pays nothing.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from headrace_trainer.adapters.adapter import Adapter
from headrace_trainer.adapters.keras import unfollowed
from headrace_trainer.adapters.keras.client import Answers
from headrace_trainer.adapters.refusal import Refusal, refuse
from headrace_trainer.adapters.script import Ending
from headrace_trainer.adapters.session import Session


def _hooks(session: Session) -> Mapping[str, Callable[[], None]]:
    return {
        "keras": lambda: _follow(session),
        "headrace_client": lambda: _answer_client(session),
        "tf_keras": lambda: unfollowed.install_legacy_keras(session),
    }


def _follow(session: Session) -> None:
    keras = importlib.import_module("keras")
    backend = keras.backend.backend()
    if backend != "tensorflow":
        unfollowed.install_backend(session, keras, backend)
        return
    from headrace_trainer.adapters.keras import hooks
    from headrace_trainer.adapters.keras.devices import gpus
    from headrace_trainer.adapters.keras.fits import metric_names

    gpus.check(session)
    hooks.install(session)
    metric_names.collect(session.fits_metrics)


def _answer_client(session: Session) -> None:
    from headrace_client import _followed

    _followed.follower = Answers(session)


def _gang(session: Session) -> contextlib.AbstractContextManager[object]:
    # Keras first: its import puts the hooks in, which need this module whole.
    importlib.import_module("keras")
    from headrace_trainer.adapters.keras.devices import workers

    try:
        scope = workers.scope()
    except Refusal as error:
        refuse(session.messages, error, "keras")
    # Creating the strategy takes SIGTERM away.
    session.stop.install()
    return scope


def _mirror(session: Session) -> contextlib.AbstractContextManager[object]:
    importlib.import_module("keras")
    from headrace_trainer.adapters.keras.devices import mirrored

    return mirrored.scope()


def _export(session: Session, ending: Ending, directory: Path) -> None:
    from headrace_trainer.adapters.keras.export import export

    export.export(session, ending.main, directory)


KERAS = Adapter(hooks=_hooks, large=frozenset({"tensorflow", "keras"}), gang=_gang, mirror=_mirror, export=_export)
