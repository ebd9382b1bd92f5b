"""Text in a pod's containers that arrives as it was written (pure).

The kubelet expands `$(NAME)` in `command`, `args` and the `value` of `env`: to a variable of the container, those that
come from Secrets too; and `$$` becomes `$`. Nowhere else in a pod: a probe's or a hook's command, an annotation and a
file are not expanded.
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container
"""

from __future__ import annotations

from headrace.kube.resources import Object, Objects


def as_written(spec: Object) -> Object:
    """A copy of a pod's spec in which the kubelet finds nothing to expand.

    For what Headrace renders, before a podTemplate is laid over it: there `$(NAME)` is Kubernetes' own, and meant.
    """
    kinds = [kind for kind in ("initContainers", "containers") if kind in spec]
    return {**spec, **{kind: [_container(found) for found in spec[kind]] for kind in kinds}}


def _container(container: Object) -> Object:
    literal: Object = {kind: [_escaped(text) for text in container[kind]] for kind in _WORDS if kind in container}
    if "env" in container:
        literal["env"] = _env(container["env"])
    return {**container, **literal}


def _env(variables: Objects) -> Objects:
    """What comes from elsewhere (`valueFrom`) is not expanded."""
    return [{**found, "value": _escaped(found["value"])} if "value" in found else found for found in variables]


def _escaped(text: str) -> str:
    return text.replace("$", "$$")


_WORDS = ("command", "args")
