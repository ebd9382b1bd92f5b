"""A client that dies after write k: the operator as it is when it was killed between two writes.

Used for "kill after write k, for every k": run the reconcile with `die_after` 0, 1, 2 ... until it survives, each
time run it again with a healthy client, and compare what is in the cluster with an undisturbed run. A kill between two
writes is of the kind of others between two such writes (`moments`): thorough.first_of_each leaves one of them.
"""

from collections.abc import Mapping, Sequence

from headrace.kube.client import KubeClient
from headrace.kube.resources import Object


class Killed(BaseException):
    """The process is gone. No Exception: nothing may handle it."""


class FaultyClient(KubeClient):
    """Shares the connection of `client`. die_after 0: killed before the first write; None: never, only counts."""

    def __init__(self, client: KubeClient, die_after: int | None) -> None:
        super().__init__(client.credentials, client._http, client._may_write)
        self.die_after = die_after
        self.written: list[str] = []

    @classmethod
    def around(cls, client: KubeClient, die_after: int | None = None) -> "FaultyClient":
        return cls(client, die_after)

    @property
    def writes(self) -> int:
        return len(self.written)

    @property
    def dead(self) -> bool:
        return self.die_after is not None and self.writes >= self.die_after

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = "application/json",
        what: str = "",
    ) -> bytes:
        # Before its first write a process that is to die there still reads.
        if self.dead and (method != "GET" or self.writes > 0):
            raise Killed(f"before {method} {what or path}")
        answer = await super().request(method, path, params=params, body=body, content_type=content_type, what=what)
        if method != "GET":
            self.written.append(f"{method} {path}")
            if self.dead:
                raise Killed(f"after write {self.writes}: {method} {what or path}")
        return answer


def moments(writes: Sequence[str]) -> list[tuple[str, str]]:
    """Before each of the writes, by its method and path, what was written last and what comes next, by their kinds. An
    event is nothing that anybody goes on from.
    """
    kinds = [kind if (kind := kind_of(write)) != "POST events" else "" for write in writes]
    return [(next(filter(None, reversed(kinds[:k])), ""), next(filter(None, kinds[k:]), "")) for k in range(len(kinds))]


def kind_of(write: str) -> str:
    """The write without the names of what it is about; one to MLflow may have a version."""
    method, _, path = write.partition("?")[0].partition(" ")
    _, _, within = path.partition("/namespaces/")
    if not within:
        return f"{method} {path}".rstrip("0123456789")
    _, plural, *name_and_part = within.split("/")
    return " ".join([method, plural, *name_and_part[1:]])
