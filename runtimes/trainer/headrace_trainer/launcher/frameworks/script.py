"""Any program: it is run as it is, and says by itself (runtimes/client) what is to be known of it."""

from __future__ import annotations

from headrace_trainer.launcher.config import Workers
from headrace_trainer.launcher.failures import ChildEnd
from headrace_trainer.launcher.frameworks.kind import Framework


def _rendezvous(workers: Workers, index: int) -> dict[str, str]:
    return {}


def _lost_peer(end: ChildEnd) -> None:
    return None


SCRIPT = Framework(
    name="Script",
    adapter=None,
    nothing_trained_hint="",
    how_to_hand_over=(
        'The script has to hand it over, in a new TrainingJob: headrace_client.export("FILE", format="ONNX"), or '
        'export("FOLDER", format="TensorFlow").'
    ),
    rendezvous=_rendezvous,
    lost_peer=_lost_peer,
)
