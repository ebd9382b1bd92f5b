"""The way of a given model to a version: refusals first, then the bytes, then the request, then the wait.

What is there already is kept: a request that has succeeded is told again, one that is under way is waited for, files
that lie in the bucket are not sent anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from headrace.adding.bucket import Bucket
from headrace.adding.errors import CannotAdd
from headrace.adding.given import Given
from headrace.adding.request import Origin, Wish, config_map, job_name, place_of, training_job
from headrace.applied import LOOK_SECONDS, Report, Wait, apply, tenant_of
from headrace.gallery.progress import of_job
from headrace.kube.client import KubeClient
from headrace.kube.errors import Forbidden
from headrace.kube.resources import CONFIGMAPS, TRAININGJOBS, Object
from headrace.sentences import bytes_said
from headrace.tenancy.objects import SECRETS, value
from headrace.tenancy.sigv4 import AccessKey
from headrace_common.manifest import NAME
from headrace_common.s3 import DEFAULT_REGION, Place

SAY_SECONDS = 5.0
_ID, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"


@dataclass(frozen=True)
class Adding:
    """One request. `s3_url` is how this machine reaches the store; empty: as pods do."""

    client: KubeClient
    wish: Wish
    report: Report
    seconds: float
    s3_url: str = ""
    pause: float = LOOK_SECONDS

    async def of_address(self, origin: Origin) -> Object:
        """Of what the job's pod can read itself. Returns the job, which has a version; raises CannotAdd, CannotRun,
        KubeError.
        """
        await tenant_of(self.client, self.wish.namespace)
        found = await self._asked_before(origin)
        if found is None:
            await self._ask(origin)
        return await self._wait(origin)

    async def of_files(self, given: Given) -> Object:
        """The same of files on this machine. What is sent for it is taken away when it is a version's."""
        tenant = await tenant_of(self.client, self.wish.namespace)
        uri = place_of(tenant["bucket"], self.wish, given.digest)
        origin = Origin(
            uri, digest=given.digest, given=_name(given), file=given.file, format=given.format, size=given.size
        )
        found = await self._asked_before(origin)
        async with aiohttp.ClientSession() as session:
            bucket = await self._bucket(tenant, session)
            if found is None:
                await self._send(bucket, Place.parse(uri).key, given)
                await self._ask(origin)
            job = await self._wait(origin)
            await self._take_away(bucket, Place.parse(uri).key)
        return job

    async def _asked_before(self, origin: Origin) -> Object | None:
        """The job where it is there and may still succeed, or has. What would be refused is told before all else."""
        name, namespace = job_name(self.wish, origin), self.wish.namespace
        live = await self.client.get(TRAININGJOBS, namespace, name)
        owner = live["metadata"]["uid"] if live is not None else ""
        await apply(self.client, CONFIGMAPS, config_map(self.wish, origin, owner), dry_run=True)
        await apply(self.client, TRAININGJOBS, training_job(self.wish, origin), dry_run=True)
        if live is None:
            return None
        remove = f"`kubectl -n {namespace} delete trainingjob {name}`"
        if (live.get("status") or {}).get("state") == "Failed":
            raise CannotAdd(f"TrainingJob {name} has failed before: {of_job(live).line}; to ask again, {remove} first")
        await apply(self.client, CONFIGMAPS, config_map(self.wish, origin, owner))
        self.report(f"TrainingJob {name} was asked for before; to add the model anew, {remove} first")
        return live

    async def _ask(self, origin: Origin) -> None:
        """The program goes first, so that the job finds it, and then belongs to the job."""
        await apply(self.client, CONFIGMAPS, config_map(self.wish, origin))
        job = await apply(self.client, TRAININGJOBS, training_job(self.wish, origin))
        await apply(self.client, CONFIGMAPS, config_map(self.wish, origin, job["metadata"]["uid"]))
        self.report(f"TrainingJob {job['metadata']['name']} applied")

    async def _wait(self, origin: Origin) -> Object:
        wait = Wait(self.client, self.wish.namespace, self.report, time.monotonic() + self.seconds, self.pause)
        return await wait.until_done(TRAININGJOBS, job_name(self.wish, origin), of_job)

    # -- the bytes -----------------------------------------------------------------------------------------------------

    async def _bucket(self, tenant: Mapping[str, str], session: aiohttp.ClientSession) -> Bucket:
        """With the key that the job's pod has: who may make the job may read its Secret."""
        namespace, name = self.wish.namespace, self.wish.secret
        elsewhere = "or upload the model yourself, and name it as s3://BUCKET/KEY"
        if not name:
            raise CannotAdd(f"without a Secret there is no key to upload with: name one with --secret, {elsewhere}")
        try:
            found = await self.client.get(SECRETS, namespace, name)
        except Forbidden as error:
            raise CannotAdd(f"{error}: ask for the right to read Secret {name}, {elsewhere}") from error
        key = AccessKey(value(found, _ID), value(found, _SECRET))
        if not key.id or not key.secret:
            lack = "there is no Secret" if found is None else f"no {_ID} and {_SECRET} in Secret"
            raise CannotAdd(f"{lack} {name!r} in namespace {namespace!r}: name another one with --secret, {elsewhere}")
        region = tenant.get("region") or DEFAULT_REGION
        url = self.s3_url or tenant.get("endpoint") or f"https://s3.{region}.amazonaws.com"
        return Bucket(url, region, tenant["bucket"], key, session, token=value(found, _TOKEN))

    async def _send(self, bucket: Bucket, prefix: str, given: Given) -> None:
        """Each file that is not there, the manifest last: the prefix is of exactly these bytes."""
        there = await self._sizes(bucket, prefix)
        missing = [file for file in given.files if there.get(f"{prefix}{file.path}") != file.size]
        sent, said = 0, time.monotonic()
        total = sum(file.size for file in missing)
        self.report(f"uploads {bytes_said(total)} in {len(missing)} of {len(given.files)} files")
        for file in missing:
            await bucket.upload(given.folder / file.path, f"{prefix}{file.path}")
            sent += file.size
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                self.report(f"uploaded {bytes_said(sent)} of {bytes_said(total)}")
        await bucket.put(f"{prefix}{NAME}", given.manifest)

    async def _sizes(self, bucket: Bucket, prefix: str) -> dict[str, int]:
        try:
            return await bucket.sizes(prefix)
        except CannotAdd as error:
            if self.s3_url:
                raise
            hint = (
                "if this machine reaches the store at another address (`kubectl port-forward`), name it with --s3-url"
            )
            raise CannotAdd(f"{error}: {hint}") from error

    async def _take_away(self, bucket: Bucket, prefix: str) -> None:
        """The version has its own copy. What cannot be taken away costs room and nothing else."""
        try:
            for key in await bucket.sizes(prefix):
                await bucket.delete(key)
        except CannotAdd as error:
            self.report(f"left in the bucket: s3://{bucket.name}/{prefix}: {error}")


def _name(given: Given) -> str:
    """The file's or the folder's name; no path of anybody's machine goes into a run."""
    return given.folder.resolve().name if len(given.files) > 1 else given.files[0].path
