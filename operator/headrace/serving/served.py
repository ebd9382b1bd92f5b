"""What a revision runs, which `spec.runtime` may not say any more (pure).

A revision keeps the server that it was rendered with; one that is not rendered yet gets that of the spec.
"""

from __future__ import annotations

from headrace.api.modelservice import ModelService, Revision
from headrace.serving.observed import Observed, annotations_in, metrics_place
from headrace.serving.revision import format_in
from headrace.serving.runtimes.choice import name_of, serves
from headrace.settings import Settings


def format_of(service: ModelService, revision: Revision | None, observed: Observed, settings: Settings) -> str | None:
    """The format of the model that it serves. None: there is no such server."""
    template = observed.templates.get(revision.revision) if revision is not None else None
    return serves(service.spec.runtime, settings.runtimes) if template is None else format_in(template)


def runtime_of(service: ModelService, revision: Revision | None, observed: Observed, settings: Settings) -> str:
    """The name of its server in the table; where its pods do not tell, that of the spec."""
    template = observed.templates.get(revision.revision) if revision is not None else None
    if template is None:
        return service.spec.runtime.name
    annotations = annotations_in(template)
    return name_of(annotations, metrics_place(annotations), settings.runtimes) or service.spec.runtime.name
