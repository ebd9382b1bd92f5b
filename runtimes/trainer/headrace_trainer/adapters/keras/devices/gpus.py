"""A job that asked for GPUs and trains on CPUs would take a hundred times as long, and hold the GPUs meanwhile: it is
ended when Keras is imported, before anything is trained.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import tensorflow as tf

from headrace_trainer.adapters.refusal import Refusal
from headrace_trainer.adapters.session import Session

_REASON = "GpuNotVisible"
_HIDING = "CUDA_VISIBLE_DEVICES"


def check(session: Session) -> None:
    """Raises Refusal where GPUs were asked for and TensorFlow sees none. To be asked does not start them: the script
    may still choose among them.
    """
    asked = session.settings.gpus
    if asked == 0:
        return
    seen = len(tf.config.list_physical_devices("GPU"))
    if seen == 0:
        raise Refusal(
            f"resources ask for {asked} GPU(s), and TensorFlow {tf.__version__} sees none",
            hint(tf.sysconfig.get_build_info()["is_cuda_build"], os.environ),
            _REASON,
        )
    if seen < asked:
        session.messages.warn("gpus", f"resources ask for {asked} GPUs, and TensorFlow sees {seen}")


def hint(is_cuda_build: bool, environment: Mapping[str, str]) -> str:
    """What to do, by the likeliest cause."""
    if not is_cuda_build:
        return (
            "This TensorFlow is for CPUs. Set spec.image to an image with tensorflow[and-cuda], such as the release's "
            "trainer-gpu, which the chart's trainer.gpuImage makes the default for jobs with GPUs, and leave "
            "tensorflow-cpu out of requirements.txt."
        )
    if _HIDING in environment:
        return f"{_HIDING} is set to {environment[_HIDING]!r}: leave it out, each pod sees its own GPUs only."
    return (
        "The driver is not in the container, or is too old for this CUDA: run nvidia-smi in a pod of this node. Some "
        "clusters need runtimeClassName: nvidia in podTemplate. The log has what TensorFlow lacks."
    )
