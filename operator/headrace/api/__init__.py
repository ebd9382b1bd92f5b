"""Typed models of both resources: the one source of the CRDs, of validation and of the reference docs."""

from headrace.api.modelservice import ModelService
from headrace.api.trainingjob import TrainingJob

KINDS = (TrainingJob, ModelService)
"""The kinds that CRDs and reference docs are generated for: those whose every field the operator enforces."""
