"""The model in the format that is asked for; a library is imported for its format alone."""

from __future__ import annotations

from pathlib import Path

from headrace_common.formats import FILES, ModelFormat
from headrace_trainer.evaluation.artifact.kind import Artifact
from headrace_trainer.evaluation.refusal import Refusal, listed

_ORDER = (ModelFormat.ONNX, ModelFormat.TENSORFLOW)


def load(folder: Path, format: str) -> Artifact:
    """From a model's folder; without a format ONNX where there is one. Raises Refusal."""
    there = [name for name in _ORDER if (folder / FILES[name]).is_file()]
    chosen = next((name for name in there if not format or name == format), None)
    if chosen is None:
        raise Refusal(
            f"the model has no format {format or 'that can be run'}; it has {listed(there) or 'none'}",
            f"Name one of {listed(_ORDER)} in output.formats, and in evaluate.format, of a new TrainingJob.",
        )
    if chosen is ModelFormat.ONNX:
        from headrace_trainer.evaluation.artifact import onnx

        return onnx.load(folder)
    from headrace_trainer.evaluation.artifact import saved_model

    return saved_model.load(folder)
