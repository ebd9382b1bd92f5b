"""What a service should serve (pure): one function of its spec, of what the registry says, and of its status.

Status may be lost: a service is deleted and applied again, or restored. The registry then still tells what served
(the promotion alias) and what was turned back (the versions' tags). Status, where it is there, knows more: which spec a
model was turned back with. How the service gets there, by which steps, is `plan`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.api.modelservice import ModelService, ModelServiceStatus, RejectedDigest, Revision, ServedModel
from headrace.sentences import joined
from headrace.serving.revision import Artifact, revision_name
from headrace.serving.signature import difference

RETRY_ANNOTATION = "headrace.dev/retry"
ACCEPT_ANNOTATION = "headrace.dev/accept-signature"
SIGNATURE_DIFFERS = "SignatureDiffers"
_MAX_WORD = 128  # the bound of an identity in the schema


@dataclass(frozen=True)
class Registry:
    """What is known of the models that a service may serve.

    `rolled_back` gives the reason in the tag of each version that says that it was rolled back.
    """

    source: Artifact | None = None  # what spec.model means; None: it cannot be told now
    promoted: Artifact | None = None  # where the promotion alias points; asked for before anything is stable
    rolled_back: Mapping[Artifact, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """Why what was asked for is not served."""

    reason: str
    message: str


@dataclass(frozen=True)
class Target:
    """`revision` None: there is nothing that can be served now. What spec.model names is `twin` where it is another
    version with the files of the one that serves, and `unlike` where it is refused for its inputs or outputs.
    """

    revision: Revision | None
    refusal: Refusal | None = None
    twin: Revision | None = None
    unlike: Revision | None = None


def wanted(service: ModelService, status: ModelServiceStatus, registry: Registry) -> Target:
    """The revision to serve, and why it is not what spec.model names, where it is not."""
    if status.stable is None:
        return _first(service, status, registry)
    if registry.source is None:
        return Target(None)
    stable, ours = status.stable, revision_of(service, registry.source)
    if ours.revision == stable.revision and _is_twin(stable, ours):
        return Target(stable, twin=ours)
    if ours.revision == stable.revision or is_tried(status, ours):
        return Target(ours)
    asked_for = is_asked_for(service, ours)
    refusal = None if asked_for else _refusal(service, status, registry, ours)
    before = None if asked_for else _rejected(status, ours)
    unlike = _unlike(service, stable, ours) if refusal is None else None
    if refusal is None and before is None and unlike is None:
        return Target(ours)
    # It was turned back. A changed spec is for what is stable first, then for what was turned back with the old one.
    kept = revision_of(service, artifact_of(stable))
    if kept.revision != stable.revision and not is_rejected(status, kept):
        return Target(kept)
    if unlike is not None:
        return Target(stable, unlike, unlike=ours)
    return Target(ours) if refusal is None else Target(stable, refusal)


def _first(service: ModelService, status: ModelServiceStatus, registry: Registry) -> Target:
    """Nobody has looked at a first revision beside another: it is the one that was promoted, where one was."""
    artifact = registry.promoted or registry.source
    if artifact is None:
        return Target(None)
    first = revision_of(service, artifact)
    # What was promoted serves, although another service, with another runtime or less memory, may have turned it back.
    if registry.promoted is not None or is_tried(status, first) or is_asked_for(service, first):
        return Target(first)
    refusal = _refusal(service, status, registry, first)
    return Target(first) if refusal is None else Target(None, refusal)


def is_asked_for(service: ModelService, revision: Revision) -> bool:
    """Whether the retry annotation names it: by its version, digest or name."""
    return service.metadata.annotations.get(RETRY_ANNOTATION, "") in names_of(revision)


def names_of(revision: Revision) -> set[str]:
    """What a person may call it by: its version, digest or name."""
    return {called(revision), revision.digest or "", revision.revision} - {""}


def is_tried(status: ModelServiceStatus, revision: Revision) -> bool:
    """What is being tried is judged by its own rollout, and not by the one before."""
    return status.canary is not None and status.canary.revision == revision.revision


def is_rejected(status: ModelServiceStatus, revision: Revision) -> bool:
    """The same bytes under the same spec: more memory may be what a rejected model needed."""
    entry = _rejected(status, revision)
    return entry is not None and entry.revision in (None, revision.revision)


def is_accepted(service: ModelService, revision: Revision) -> bool:
    """Whether the annotation says that its inputs and outputs may differ: by its version or digest."""
    names = {called(revision), revision.digest or ""} - {""}
    return service.metadata.annotations.get(ACCEPT_ANNOTATION, "") in names


def candidate_of(service: ModelService, status: ModelServiceStatus, source: Artifact | None) -> Revision | None:
    """What spec.model names, where that is not the revision that serves; None also where nothing serves yet."""
    if status.stable is None or source is None:
        return None
    ours = revision_of(service, source)
    return None if ours.revision == status.stable.revision else ours


def difference_of(stable: Revision, candidate: Revision) -> str:
    """In what the candidate's inputs and outputs differ; empty where they do not, or are not known."""
    return difference(signature_of(stable), signature_of(candidate))


def against(stable: Revision, differs: str) -> str:
    """The difference as a message has it."""
    return f"its inputs or outputs are not those of {named(stable)}, which serves: {differs}"


def signature_of(revision: Revision) -> str:
    """The text of its inputs and outputs; empty where they are not known."""
    return revision.model.signature or "" if revision.model is not None else ""


def artifact_of(revision: Revision) -> Artifact:
    """The artifact that a revision in status was made of."""
    return Artifact(
        uri=revision.uri or "",
        digest=revision.digest or "",
        model=revision.model.name or "" if revision.model else "",
        version=revision.model.version or "" if revision.model else "",
        judged_format=revision.model.judged_format or "" if revision.model else "",
        signature=signature_of(revision),
    )


def identity(revision: Revision) -> str:
    """What is rejected: the bytes, or where they lie."""
    return (revision.digest or revision.uri or "")[:_MAX_WORD]


def named(revision: Revision) -> str:
    """A revision as a message names it."""
    if revision.model and revision.model.version:
        return f"version {revision.model.version} of model {revision.model.name}"
    return f"revision {revision.revision} ({revision.uri})"


def called(revision: Revision) -> str:
    """Its version, else its name."""
    return revision.model.version if revision.model and revision.model.version else revision.revision


def revision_of(service: ModelService, artifact: Artifact) -> Revision:
    """The revision that this artifact is with the spec as it is."""
    model = ServedModel(
        name=artifact.model,
        version=artifact.version,
        judged_format=artifact.judged_format or None,
        signature=artifact.signature or None,
    )
    name = revision_name(service, artifact)
    return Revision(
        revision=name, digest=artifact.digest or None, uri=artifact.uri, model=model if artifact.version else None
    )


def _is_twin(stable: Revision, other: Revision) -> bool:
    """Another version of the same model, with the same files: its pods are those that serve, and they were told the
    number of the version that they were made for.
    """
    if stable.model is None or other.model is None or stable.model.name != other.model.name:
        return False
    return stable.model.version != other.model.version


def _rejected(status: ModelServiceStatus, revision: Revision) -> RejectedDigest | None:
    return next((entry for entry in status.rejected if entry.digest == identity(revision)), None)


def _unlike(service: ModelService, stable: Revision, candidate: Revision) -> Refusal | None:
    """Why clients of what serves would not get on with the candidate, unless somebody has said that they may not."""
    differs = difference_of(stable, candidate)
    if not differs or is_accepted(service, candidate):
        return None
    owner = service.metadata
    message = f"{named(candidate)} is not rolled out: {against(stable, differs)}"
    annotate = f"kubectl -n {owner.namespace} annotate --overwrite modelservice {owner.name}"
    hint = f"to roll it out all the same: {annotate} {ACCEPT_ANNOTATION}={called(candidate)}"
    return Refusal(SIGNATURE_DIFFERS, joined(message, hint))


def _refusal(
    service: ModelService, status: ModelServiceStatus, registry: Registry, revision: Revision
) -> Refusal | None:
    entry = _rejected(status, revision)
    owner = service.metadata
    annotate = f"kubectl -n {owner.namespace} annotate modelservice {owner.name}"
    hint = f"to try it again: {annotate} {RETRY_ANNOTATION}={called(revision)}"
    if entry is not None:
        if not is_rejected(status, revision):
            return None
        message = f"{named(revision)} was rolled back before ({entry.reason}): {entry.message}"
        return Refusal(entry.reason, joined(message, hint))
    # The stable revision's own bytes are good; a tag on them speaks of an earlier try.
    is_stables = status.stable is not None and identity(status.stable) == identity(revision)
    reason = registry.rolled_back.get(artifact_of(revision))
    if reason is None or is_stables:
        return None
    message = f"{named(revision)} was rolled back before ({reason}), as the tag headrace.rollout in the registry says"
    elsewhere = "" if status.stable is not None else "; or let the alias point at another version"
    return Refusal(reason, joined(message, f"{hint}{elsewhere}"))
