"""The S3 store's administration: users, buckets with owners, bucket policies.

versitygw's admin API is plain HTTP with an AWS signature (PATCH with XML bodies, names as in its Go structs); a bucket
policy is S3's own call. Passes values on and decides nothing.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import aiohttp

from headrace.tenancy.errors import StoreError, StoreUnavailable
from headrace.tenancy.sigv4 import AccessKey, canonical_query, sign

CALL_SECONDS = 15.0
CONNECT_SECONDS = 3.0

# What versitygw lets a user do beside what bucket policies say: nothing, not even make buckets.
_USER_EXISTS = "XAdminUserExists"
_ROLE = "user"


class Store:
    """`url` is how this process reaches the store; `root` its administrator."""

    def __init__(self, url: str, region: str, root: AccessKey, session: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/")
        self.region = region
        self._root = root
        self._session = session

    async def ensure_user(self, key: AccessKey) -> None:
        """Make the user, or give the one that exists this secret.

        By removal and not by versitygw's update-user: after that its cache may hold the old secret for two minutes
        (v1.8.0, seen after two updates of one user: the entry's key is memory of the request). Nothing is done when the
        secret is right, so that users who are at work stay.
        """
        account = _xml("Account", {"Access": key.id, "Secret": key.secret, "Role": _ROLE})
        secrets = await self._secrets()
        if secrets.get(key.id) == key.secret:
            return
        if key.id in secrets:
            await self.delete_user(key.id)
        try:
            await self._send("PATCH", "/create-user", f"user {key.id}", body=account)
        except StoreError as error:
            # Whoever adds another tenant at this moment makes the same viewer.
            if error.code != _USER_EXISTS or (await self._secrets()).get(key.id) != key.secret:
                raise

    async def _secrets(self) -> dict[str, str]:
        """The secret of each user."""
        root = ElementTree.fromstring(await self._send("PATCH", "/list-users", "users"))
        return {entry.findtext("Access", ""): entry.findtext("Secret", "") for entry in root.iter("Accounts")}

    async def delete_user(self, access_key_id: str) -> None:
        """One that is gone is fine. Its buckets stay, and are its own again when the user is made again."""
        await self._send("PATCH", "/delete-user", f"user {access_key_id}", query={"access": access_key_id})

    async def ensure_bucket(self, bucket: str, owner: str) -> str:
        """Make the bucket for `owner` if there is none; the owner that it has now."""
        owners = await self.bucket_owners()
        if bucket not in owners:
            headers = {"x-vgw-owner": owner}
            await self._send("PATCH", f"/{quote(bucket)}/create", f"bucket {bucket}", headers=headers)
            return owner
        return owners[bucket]

    async def bucket_owners(self) -> dict[str, str]:
        """All buckets, each with the access key id of its owner."""
        root = ElementTree.fromstring(await self._send("PATCH", "/list-buckets", "buckets"))
        return {entry.findtext("Name", ""): entry.findtext("Owner", "") for entry in root.iter("Buckets")}

    async def put_policy(self, bucket: str, policy: Mapping[str, Any]) -> None:
        body = json.dumps(policy).encode()
        await self._send("PUT", f"/{quote(bucket)}", f"policy of bucket {bucket}", query={"policy": ""}, body=body)

    # -- the wire ------------------------------------------------------------------------------------------------------

    async def _send(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> bytes:
        url, query, subject = self.url + path, query or {}, f"S3 store at {self.url}: {method} of {what}"
        signed = sign(self._root, self.region, datetime.now(UTC), method, url, query, headers or {}, body)
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS, sock_connect=CONNECT_SECONDS)
        target = f"{url}?{canonical_query(query)}" if query else url
        try:
            async with self._session.request(
                method, target, headers=signed, data=body, timeout=timeout, allow_redirects=False
            ) as response:
                status, answer = response.status, await response.read()
        except TimeoutError as error:
            raise StoreUnavailable(f"{subject}: no answer within {CALL_SECONDS:.0f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise StoreUnavailable(f"{subject}: no connection: {error}") from error
        if status >= 500:
            raise StoreUnavailable(f"{subject}: {status}: {_said(answer)[1]}")
        if status >= 300:
            code, message = _said(answer)
            raise StoreError(f"{subject}: {status} {code}: {message}", code)
        return answer


def _xml(name: str, fields: Mapping[str, str]) -> bytes:
    root = ElementTree.Element(name)
    for key, value in fields.items():
        ElementTree.SubElement(root, key).text = value
    return ElementTree.tostring(root)


def _said(answer: bytes) -> tuple[str, str]:
    try:
        root = ElementTree.fromstring(answer)
    except ElementTree.ParseError:
        return "", answer.decode(errors="replace").strip()[:300]
    return root.findtext("Code", ""), root.findtext("Message", "")
