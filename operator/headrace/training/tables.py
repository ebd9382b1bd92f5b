"""What is declared of tables, for the launcher (pure). The masking key goes by an environment variable from its Secret,
which the kubelet reads: the operator never does.
"""

from __future__ import annotations

from headrace.api.tables import Tables
from headrace.kube.resources import Object
from headrace_common.protocol import tables as protocol
from headrace_common.protocol.fields import Fields


def told_to_launchers(tables: Tables | None) -> protocol.Tables | None:
    """In the protocol's words, which are the spec's."""
    if tables is None:
        return None
    told = tables.model_dump(mode="json", by_alias=True, exclude_none=True)
    return protocol.parse_tables(Fields(told, "spec.prepare.tables"))


def masking_key(tables: Tables | None) -> list[Object]:
    """The variable with the key, for the container."""
    secret = None if tables is None or tables.privacy is None else tables.privacy.key_secret_ref
    if secret is None:
        return []
    reference = {"secretKeyRef": {"name": secret.name, "key": secret.key}}
    return [{"name": protocol.KEY_VARIABLE, "valueFrom": reference}]
