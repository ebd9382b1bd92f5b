"""The keys that a tenant's Secret has, of the store and of MLflow: who may make the job may read its Secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from headrace.adding.bucket import Bucket, why_no_url
from headrace.adding.errors import CannotAdd
from headrace.applied import Report
from headrace.kube.client import KubeClient
from headrace.kube.errors import Forbidden
from headrace.tenancy.objects import SECRETS, value
from headrace.tenancy.sigv4 import AccessKey
from headrace_common.s3 import DEFAULT_REGION

_ID, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


@dataclass(frozen=True)
class Keys:
    """`token` is that of temporary credentials; no `user`: an MLflow without authentication."""

    key: AccessKey
    token: str = field(default="", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    def bucket(self, tenant: Mapping[str, str], s3_url: str, session: aiohttp.ClientSession, report: Report) -> Bucket:
        """The tenant's, as this machine reaches it: at `s3_url`, or as pods do. Raises CannotAdd."""
        region = tenant.get("region") or DEFAULT_REGION
        url = s3_url or tenant.get("endpoint") or f"https://s3.{region}.amazonaws.com"
        if (why := why_no_url(url)) is not None:
            raise CannotAdd(f"the store's address {why}: name it with --s3-url")
        return Bucket(url, region, tenant["bucket"], self.key, session, token=self.token, report=report)


async def keys_of(client: KubeClient, namespace: str, name: str, use: str, elsewhere: str) -> Keys:
    """Of the Secret `name`; `use` is what the key is for, `elsewhere` what to do without one. Raises CannotAdd."""
    if not name:
        raise CannotAdd(f"without a Secret there is no key to {use} with: name one with --secret, {elsewhere}")
    try:
        found = await client.get(SECRETS, namespace, name)
    except Forbidden as error:
        raise CannotAdd(f"{error}: ask for the right to read Secret {name}, {elsewhere}") from error
    try:
        # Who makes a Secret of a file has its newline in it.
        values = (value(found, name).strip() for name in (_ID, _SECRET, _TOKEN, _USER, _PASSWORD))
        id, secret, token, user, password = values
    except UnicodeDecodeError as error:
        raise CannotAdd(f"Secret {name!r} in namespace {namespace!r} has a key that is no text") from error
    if not id or not secret:
        lack = "there is no Secret" if found is None else f"no {_ID} and {_SECRET} in Secret"
        raise CannotAdd(f"{lack} {name!r} in namespace {namespace!r}: name another one with --secret, {elsewhere}")
    return Keys(AccessKey(id, secret), token, user, password)
