"""Runs a script as `python -m headrace_trainer.adapters.keras` does, and keeps what the script's own model answers.

Beside the folder that the model is exported to, answers.json has some rows of the data that the model was fed, or
made-up ones, and what Keras computes with them in the process that trained it; weights.npz has its weights, or those of
all candidates. With ONLY_ANSWERS in the environment nothing is exported.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from headrace_trainer.adapters.keras.adapter import KERAS
from headrace_trainer.adapters.main import main
from headrace_trainer.adapters.script import Ending
from headrace_trainer.adapters.session import Session

ROWS = 4


def export(session: Session, ending: Ending, directory: Path) -> None:
    if "ONLY_ANSWERS" not in os.environ:
        KERAS.export(session, ending, directory)
    (directory.parent / "answers.json").write_text(json.dumps(answers(session, ending, directory.parent)))


def answers(session: Session, ending: Ending, folder: Path) -> dict[str, Any]:
    """The model that is meant with its answers, or the candidates; one that cannot be called has none."""
    import keras
    import numpy as np

    from headrace_trainer.adapters.keras.export.inputs import NoInputs, inputs_of
    from headrace_trainer.adapters.keras.export.servable import servable
    from headrace_trainer.adapters.keras.models.choose import choose, described, name_of

    found = choose(session, ending.main)
    meant = [found.chosen] if found.chosen is not None else [each.model for each in found.candidates]
    np.savez(folder / "weights.npz", *(array for model in meant for array in model.get_weights()))
    if found.chosen is None:
        return {"candidates": [candidate.name for candidate in found.candidates]}
    named = {"model": name_of(found.chosen, ending.main), "reason": found.reason}
    trained = described(session.models, found.chosen)
    try:
        inputs = inputs_of(trained.model, trained.element_spec, trained.rows() if trained.rows else None)
        rows = inputs.rows or servable(trained).references[0].inputs
        if inputs.tensors[0].shape[0] is None:
            rows = tuple(values[:ROWS] for values in rows)
        for layer in trained.model._flatten_layers():
            if isinstance(layer, keras.layers.RNN) and layer.stateful:
                layer.reset_state()
        predicted = trained.model.predict_on_batch(keras.tree.pack_sequence_as(inputs.structure, list(rows)))
    except (NoInputs, NotImplementedError):  # Keras raises the second where a model has no call
        return named
    return {
        **named,
        "inputs": {tensor.name: plain(values) for tensor, values in zip(inputs.tensors, rows, strict=True)},
        "outputs": [plain(values) for values in keras.tree.flatten(predicted)],
    }


def plain(values: Any) -> Any:
    """As JSON has it."""
    listed = values.tolist()

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(item) for item in value]
        return value.decode() if isinstance(value, bytes) else value

    return text(listed)


if __name__ == "__main__":
    sys.exit(main(replace(KERAS, export=export), sys.argv[1:]))
