"""Any program: it is run as it is, and says by itself (runtimes/client) what is to be known of it."""

from __future__ import annotations

from headrace_trainer.launcher.frameworks.kind import Framework
from headrace_trainer.launcher.frameworks.rendezvous import rendezvous
from headrace_trainer.launcher.frameworks.script_peers import lost_peer
from headrace_trainer.launcher.model.described import describe
from headrace_trainer.launcher.model.handed_over import fault

_HOW = (
    'The script has to hand it over, in a new TrainingJob: headrace_client.export("FILE", format="ONNX"), or '
    'export("FOLDER", format="TensorFlow").'
)

SCRIPT = Framework(
    name="Script",
    adapter=None,
    nothing_trained_hint="",
    how_to_hand_over=_HOW,
    words_of_missing="was not handed over",
    words_of_unusable="was handed over and cannot be used",
    hint_of_unusable=f"Correct what it hands over, or output.formats. {_HOW} The checkpoints are kept.",
    fault=fault,
    describe=describe,
    rendezvous=rendezvous,
    lost_peer=lost_peer,
)
