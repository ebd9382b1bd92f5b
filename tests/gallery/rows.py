"""The models of the gallery, one row each: of the test and of docs/reference/gallery.md."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OUTCOMES = Path(__file__).with_name("outcomes.json")


@dataclass(frozen=True)
class Row:
    """A TrainingJob of an example; `changes` are laid over its parameters.

    `says` is a pattern of what its client answers to `asked`. `questions` is for what is no Keras model: what it is
    asked where it is handed over, in the program's own names. `needs` is a module that its requirements.txt brings.
    """

    name: str
    example: str
    kind: str
    task: str
    says: str
    job: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    questions: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    needs: str | None = None
    in_every_run: bool = False

    @property
    def folder(self) -> Path:
        return EXAMPLES / self.example


def _cell(cell: str, kind: str) -> Row:
    return Row(
        f"sequences: {cell}",
        "sequences",
        kind,
        "signals of 40 steps, 4 shapes",
        r"square .* the model says: square",
        changes={"cell": cell},
    )


ROWS = (
    Row(
        "digits",
        "digits",
        "convolutional network, augmented",
        "pictures of 8 x 8, 10 digits",
        r"this is a 0 [\s\S]*this is a 1 [\s\S]*this is a 3 ",
        in_every_run=True,
    ),
    _cell("SimpleRNN", "simple recurrent network"),
    _cell("LSTM", "LSTM"),
    _cell("GRU", "GRU"),
    _cell("Bidirectional", "LSTM in both directions"),
    Row("time-series", "time-series", "1D convolutions", "168 hours in, 24 out", r"  23 .*#"),
    Row(
        "transformer",
        "transformer",
        "Transformer encoder, written out",
        "reviews of up to 16 words, 2 classes",
        r"^good .*\ngood .*\nbad .*\ngood ",
    ),
    Row(
        "bert",
        "bert",
        "BERT by KerasHub",
        "reviews of up to 16 words, 2 classes",
        r"^good .*\ngood .*\nbad .*\ngood ",
        needs="keras_hub",
    ),
    Row("gpt", "gpt", "Transformer decoder, written out", "the next of 96 characters", r"^The statement \w"),
    Row(
        "gpt2",
        "gpt2",
        "GPT-2 by KerasHub",
        "the next of 256 bytes",
        r"^The statement [\s\S]*[a-z]{3}[\s\S]* [a-z]",
        needs="keras_hub",
    ),
    Row(
        "text-generator",
        "text-generator",
        "LSTM",
        "the next of 10,000 words",
        r"^this licence applies to \S+ \S+",
        asked=("this licence applies to", "--words=5"),
    ),
    Row(
        "tabular: dense",
        "tabular",
        "dense network",
        "30 measurements, 2 classes",
        r"worst area 1648.0: malignant[\s\S]*worst area  830.5: benign",
    ),
    Row(
        "tabular: boosting",
        "tabular",
        "gradient-boosted trees (scikit-learn)",
        "30 measurements, 2 classes",
        r"worst area 1648.0: malignant[\s\S]*worst area  830.5: benign",
        job=1,
        questions={
            "inputs": {"features": "x_val[:5]"},
            "outputs": {"label": "model.predict(x_val[:5])", "probabilities": "model.predict_proba(x_val[:5])"},
        },
        in_every_run=True,
    ),
    Row(
        "recommendation",
        "recommendation",
        "two towers",
        "400 users, 200 films",
        r"user 7: film \d+ \(\w+, 0\.\d\d\)",
    ),
    Row(
        "image-text",
        "image-text",
        "contrastive pair of encoders (as CLIP)",
        "pictures of 8 x 8 and captions",
        r"\na zero \(0[\s\S]*\na one \(0[\s\S]*\na three \(0",
    ),
    Row(
        "text-to-image",
        "text-to-image",
        "diffusion, dense layers",
        "words to pictures of 8 x 8",
        r"^a seven\n[ .\-+]*#[\s\S]*\na bold three\n[ .\-+]*#[\s\S]*\na thin zero\n[\s\S]*#",
    ),
)


def outcomes() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(OUTCOMES.read_text()) if OUTCOMES.is_file() else {}
    return found


def record(name: str, outcome: dict[str, Any]) -> None:
    """Keeps what was measured, one row a line."""
    found = outcomes() | {name: outcome}
    lines = [f"  {json.dumps(row.name)}: {json.dumps(found[row.name])}" for row in ROWS if row.name in found]
    OUTCOMES.write_text("{\n" + ",\n".join(lines) + "\n}\n")
