"""What a kubelet makes of a container's text: its own rules again, to judge rendered pods by.

k8s.io/kubernetes 1.34, third_party/forked/golang/expansion, and pkg/kubelet for the order of variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable, or stays where there is none; `$$` becomes `$`."""
    out, rest = "", text
    while rest:
        name, closed, after = rest[2:].partition(")")
        if rest.startswith("$("):
            out += variables.get(name, f"$({name})") if closed else "$("
            rest = after if closed else rest[2:]
        elif rest.startswith("$$"):
            out, rest = out + "$", rest[2:]
        else:
            out, rest = out + rest[0], rest[1:]
    return out


def started(container: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Command, arguments and variables of a container as its process gets them; `secrets` come by envFrom."""
    known = dict(secrets)
    for variable in container.get("env", ()):
        if "value" in variable:
            known[variable["name"]] = expand(variable["value"], known)
    words = {kind: [expand(word, known) for word in container.get(kind, ())] for kind in ("command", "args")}
    return {**words, "env": known}
