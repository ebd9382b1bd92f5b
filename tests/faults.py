"""A client that dies after write k: the operator as it is when it was killed between two writes.

Used for "kill after write k, for every k": run the reconcile with `die_after` 0, 1, 2 ... until it survives, each
time run it again with a healthy client, and compare what is in the cluster with an undisturbed run.
"""

from collections.abc import Mapping

from headrace.kube.client import KubeClient
from headrace.kube.resources import Object


class Killed(BaseException):
    """The process is gone. No Exception: nothing may handle it."""


class FaultyClient(KubeClient):
    """Shares the connection of `client`. die_after 0: killed before the first write; None: never, only counts."""

    def __init__(self, client: KubeClient, die_after: int | None) -> None:
        super().__init__(client.credentials, client._http, client._may_write)
        self.die_after = die_after
        self.writes = 0

    @classmethod
    def around(cls, client: KubeClient, die_after: int | None = None) -> "FaultyClient":
        return cls(client, die_after)

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
            self.writes += 1
            if self.dead:
                raise Killed(f"after write {self.writes}: {method} {what or path}")
        return answer
