"""What is told of GPUs that were asked for and are not seen."""

from __future__ import annotations

from later import Later

gpus = Later("headrace_trainer.adapters.keras.devices.gpus")


def test_the_hint_is_of_the_likeliest_cause():
    for_cpus = gpus.hint(is_cuda_build=False, environment={"CUDA_VISIBLE_DEVICES": ""})
    assert "trainer-gpu" in for_cpus
    assert "requirements.txt" in for_cpus
    hidden = gpus.hint(is_cuda_build=True, environment={"CUDA_VISIBLE_DEVICES": "-1"})
    assert hidden.startswith("CUDA_VISIBLE_DEVICES is set to '-1'")
    assert "runtimeClassName: nvidia" in gpus.hint(is_cuda_build=True, environment={})
