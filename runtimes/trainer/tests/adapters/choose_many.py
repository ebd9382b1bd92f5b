"""Runs the scripts of scripts/models one after another in one process, and says which model is meant of each.

What a script expects stands at its own end: EXPECTED is the model or the list of candidates (NAME or NAMES where its
function has returned), VAL_LOSS what was measured on the model, LAST_EPOCH the index of the epoch that its val_loss is
of, WEIGHTS those that it is to have, UNMEASURED the names that nobody measured on it, DROPPED how many others there
were, KNOWS_DATA whether it was fed with data. Usage: choose_many.py DIRECTORY
SCRIPT...; what came of all is in DIRECTORY/results.json.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
import traceback
from pathlib import Path

import keras
import model_data
import numpy as np

from headrace_trainer.adapters import script
from headrace_trainer.adapters.keras import hooks as keras_hooks
from headrace_trainer.adapters.keras.adapter import KERAS
from headrace_trainer.adapters.keras.models import follow
from headrace_trainer.adapters.keras.models.choose import choose, described
from headrace_trainer.adapters.messages import Messages
from headrace_trainer.adapters.models import Models
from headrace_trainer.adapters.script_files import ScriptFiles
from headrace_trainer.adapters.session import Session
from headrace_trainer.adapters.settings import Settings
from headrace_trainer.adapters.stopping import Stop


def main(directory: Path, scripts: list[Path]) -> None:
    gc.freeze()  # as the adapter does after the import of Keras
    make_existing(model_data.EXISTING)
    settings = Settings.from_environment({"HEADRACE_FORMATS": "TensorFlow", "HEADRACE_SEED": "5"})
    files = ScriptFiles(directory, (), None, lambda message: None)
    session = Session(settings, Messages(None), Stop(lambda: None, seconds=15.0), None, None, files)
    keras_hooks.install(session)
    KERAS.hooks(session)["headrace_client"]()
    results = {}
    for path in scripts:
        session.models, session.custom_iterations, session.batch_steps = Models(), [], 0
        follow.prepare(session)
        keras.backend.clear_session()
        gc.collect()
        folder = directory / path.stem
        folder.mkdir()
        os.chdir(folder)
        results[path.stem] = run(session, path)
    (directory / "results.json").write_text(json.dumps(results))


def make_existing(folder: Path) -> None:
    """What another job has left."""
    folder.mkdir()
    model = model_data.build("production")
    model.fit(*model_data.training, verbose=0)
    model.save(folder / "production.keras")
    model.save_weights(folder / "production.weights.h5")
    time.sleep(1.1)  # a .keras file says the second


def run(session: Session, path: Path) -> dict:
    ending = script.run(str(path), [], contextlib.nullcontext())
    if ending.exception is not None:
        return {"raised": "".join(traceback.format_exception(ending.exception))}
    found = choose(session, ending.main)
    wanted = vars(ending.main)
    result = {"reason": found.reason, "dropped": session.models.dropped, "wantedDropped": wanted.get("DROPPED", 0)}
    if found.chosen is None:
        models = [candidate.model for candidate in found.candidates]
        names = [candidate.model.name for candidate in found.candidates]
        result["candidates"] = [str(candidate) for candidate in found.candidates]
        if "NAMES" in wanted:
            return {**result, "right": names == wanted["NAMES"]}
        right = isinstance(wanted["EXPECTED"], list) and set(map(id, models)) == set(map(id, wanted["EXPECTED"]))
        return {**result, "right": right}
    if "WEIGHTS" in wanted:
        pairs = zip(found.chosen.get_weights(), wanted["WEIGHTS"], strict=True)
        result["weights"] = all(np.array_equal(*pair) for pair in pairs)
    metrics, unmeasured = session.models.metrics_of(found.chosen)
    right = found.chosen.name == wanted["NAME"] if "NAME" in wanted else found.chosen is wanted["EXPECTED"]
    result |= {"right": right, "chosen": found.chosen.name, "metrics": metrics, "unmeasured": unmeasured}
    value = wanted.get("VAL_LOSS")
    if "LAST_EPOCH" in wanted:
        value = wanted.get("EXPECTED", found.chosen).history.history["val_loss"][wanted["LAST_EPOCH"]]
    known = described(session.models, found.chosen)
    return {
        **result,
        "valLoss": value,
        "wantedUnmeasured": wanted.get("UNMEASURED", []),
        "wantedData": wanted.get("KNOWS_DATA", True),
        "knowsData": known.element_spec is not None and known.rows is not None and known.rows() is not None,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
