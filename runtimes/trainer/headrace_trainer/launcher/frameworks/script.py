"""Any program: it is run as it is, and says by itself (runtimes/client) what is to be known of it."""

from __future__ import annotations

from headrace_trainer.launcher.frameworks.kind import Framework
from headrace_trainer.launcher.frameworks.rendezvous import rendezvous
from headrace_trainer.launcher.frameworks.script_peers import lost_peer

SCRIPT = Framework(
    name="Script",
    adapter=None,
    nothing_trained_hint="",
    how_to_hand_over=(
        'The script has to hand it over, in a new TrainingJob: headrace_client.export("FILE", format="ONNX"), or '
        'export("FOLDER", format="TensorFlow").'
    ),
    words_of_missing="was not handed over",
    words_of_unusable="was handed over and cannot be used",
    rendezvous=rendezvous,
    lost_peer=lost_peer,
)
