"""The image that a pod has run, by its digest (pure)."""

from __future__ import annotations

import re

_IMAGE_ID = re.compile(r"(?:docker-pullable://)?(?P<repository>[^@]+)@(?P<digest>sha256:[0-9a-f]{64})")
_TAG = re.compile(r":[^/:]+$")
# Of a name without a registry; https://github.com/distribution/reference, normalize.go.
_REGISTRY, _LIBRARY = "docker.io/", "library/"


def resolved(reference: str, image_id: str) -> str:
    """The image that `reference` named when a pod was started with it, by the imageID that the kubelet tells of that
    pod: NAME@sha256:.... The reference itself where no registry has it under that digest, as of an image that was
    loaded into the node.
    """
    found, name = _IMAGE_ID.fullmatch(image_id), _repository(reference)
    if found is None or _normalized(found["repository"]) != _normalized(name):
        return reference
    return f"{name}@{found['digest']}"


def _repository(reference: str) -> str:
    return _TAG.sub("", reference.partition("@")[0])


def _normalized(repository: str) -> str:
    first, _, rest = repository.partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        repository = repository.removeprefix("index.")
    else:
        repository = _REGISTRY + repository
    of_docker = repository.removeprefix(_REGISTRY)
    return repository if of_docker == repository or "/" in of_docker else f"{_REGISTRY}{_LIBRARY}{of_docker}"
