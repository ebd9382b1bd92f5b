"""A cluster with one object in it, for commands that read it, and write annotations on it under somebody's name."""

from __future__ import annotations

from typing import Any


class OneObject:
    """A cluster that has `found`, and knows who asks; `refusal` is what a write raises."""

    def __init__(self, found: Any, refusal: Exception | None = None) -> None:
        self.found, self.refusal, self.written = found, refusal, []

    def __call__(self, args):
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        return None

    async def get(self, resource, namespace, name):
        return self.found

    async def create(self, resource, asked):
        assert resource.path() == "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        return {"status": {"userInfo": {"username": "alice", "groups": ["system:authenticated"]}}}

    async def merge_patch(self, resource, namespace, name, patch):
        if self.refusal is not None:
            raise self.refusal
        self.written.append((resource.plural, namespace, name, patch))
