"""What a kubelet makes of a container's text: its own rules again, byte by byte, to judge rendered pods by.

k8s.io/kubernetes, third_party/forked/golang/expansion and pkg/kubelet/container (ExpandContainerCommandAndArgs,
makeEnvironmentVariables).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the variable, or stays where there is none; `$$` becomes `$`."""
    data, out, at = text.encode(), bytearray(), 0
    while at < len(data):
        byte, rest = data[at : at + 1], data[at + 1 :]
        if byte != b"$" or not rest:
            out += byte
            at += 1
        elif rest.startswith(b"("):
            name, closed, _ = rest[1:].partition(b")")
            if closed:
                out += variables.get(name.decode(errors="replace"), f"$({name.decode(errors='replace')})").encode()
                at += len(name) + 3
            else:
                out += b"$("
                at += 2
        elif rest.startswith(b"$"):
            out += b"$"
            at += 2
        else:
            # Go's string(byte) is the letter of that number: half of a letter becomes another one.
            out += b"$" + chr(rest[0]).encode()
            at += 2
    return out.decode(errors="replace")


def started(container: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """Command, arguments and variables of a container as its process gets them; `secrets` come by envFrom."""
    known = dict(secrets)
    for variable in container.get("env", ()):
        if "value" in variable:
            known[variable["name"]] = expand(variable["value"], known)
    words = {kind: [expand(word, known) for word in container.get(kind, ())] for kind in ("command", "args")}
    return {**words, "env": known}
