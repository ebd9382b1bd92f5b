"""How an answer of a model is explained: words that specs, messages and the package that explains have in common."""

from __future__ import annotations

from enum import StrEnum


class Method(StrEnum):
    """AUTO is one of the others, by what the model's inputs are."""

    AUTO = "Auto"
    SHAPLEY = "Shapley"
    OCCLUSION = "Occlusion"
    INTEGRATED_GRADIENTS = "IntegratedGradients"


# The file in the folder of an evaluation's artifacts.
EXPLANATIONS = "explanations.json"
# What the process of an evaluation warns of where something was not explained.
SUBJECT = "explanations"
