"""Who owns an object (pure): by the uid of its controller, as labels can be copied."""

from __future__ import annotations

from headrace.kube.resources import Object, Resource


def is_owned(obj: Object, owner_uid: str) -> bool:
    """Whether the object's controller has this uid."""
    references = obj["metadata"].get("ownerReferences", ())
    return any(reference["uid"] == owner_uid and reference.get("controller") for reference in references)


def not_ours(kind: Resource, obj: Object) -> str:
    """What to say of an object whose name is needed and that belongs to another owner."""
    metadata = obj["metadata"]
    namespace, name = metadata.get("namespace"), metadata["name"]
    where, option = (f"{namespace}/{name}", f" -n {namespace}") if namespace else (name, "")
    delete = f"kubectl{option} delete {kind.plural} {name}"
    return f"{kind.kind} {where} exists already, {_whose(metadata)}; delete it ({delete}), or use another name"


def _whose(metadata: Object) -> str:
    references = metadata.get("ownerReferences") or ()
    controller = next((reference for reference in references if reference.get("controller")), None)
    if controller is not None:
        owner = f"{controller['kind']} {controller['name']} (uid {controller['uid']})"
        return f"and its controller is {owner}; Kubernetes removes it if that one was deleted"
    managers = sorted({entry["manager"] for entry in metadata.get("managedFields") or () if entry.get("manager")})
    return f"and has no controller (field managers: {', '.join(managers[:5]) or 'none'})"


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
