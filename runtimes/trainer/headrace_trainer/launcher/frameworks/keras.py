"""Keras on TensorFlow: the adapter runs the script and follows `fit`."""

from __future__ import annotations

from headrace_common.protocol.config import Workers
from headrace_trainer.launcher.frameworks.kind import Framework
from headrace_trainer.launcher.frameworks.tensorflow_peers import lost_peer
from headrace_trainer.launcher.frameworks.tf_config import tf_config


def _rendezvous(workers: Workers, index: int) -> dict[str, str]:
    return {"TF_CONFIG": tf_config(workers, index)}


KERAS = Framework(
    name="Keras",
    adapter="headrace_trainer.adapters.keras",
    nothing_trained_hint=(
        "The entrypoint has to call model.fit, or to apply an optimizer's gradients itself: check that it gets there, "
        "for example that main() is called. Steps in a process that the script has started, and of optimizers that are "
        "not Keras', are not seen: where these train, name the model by headrace_client.export(model). A script of "
        "another framework is a job of framework: Script."
    ),
    how_to_hand_over="Read the end of the script's log: kubectl -n NAMESPACE logs POD -c trainer.",
    words_of_missing="cannot be made of this model: it was not exported",
    words_of_unusable="cannot be made of this model",
    hint_of_unusable=(
        "Remove the format from output.formats in a new TrainingJob, or change the model. The checkpoints are kept."
    ),
    fault=lambda format, folder: None,  # the adapter has exported it, and has tried it
    describe=lambda folder, formats: None,  # the adapter has
    rendezvous=_rendezvous,
    lost_peer=lost_peer,
)
