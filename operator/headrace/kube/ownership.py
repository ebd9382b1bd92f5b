"""Who owns an object (pure): by the uid of its controller, as labels can be copied."""

from __future__ import annotations

from headrace.kube.resources import Object, Resource


def is_owned(obj: Object, owner_uid: str) -> bool:
    """Whether the object's controller has this uid."""
    references = obj["metadata"].get("ownerReferences", ())
    return any(reference["uid"] == owner_uid and reference.get("controller") for reference in references)


def controller_reference(kind: Resource, name: str, uid: str) -> Object:
    """The owner reference that makes an object somebody's: the cluster's garbage collector removes it with its owner,
    who does not wait for that.
    """
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
