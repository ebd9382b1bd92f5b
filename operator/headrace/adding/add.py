"""The way of a given model to a version: refusals first, then the bytes, then the request, then the wait.

What is there already is kept: a request that has succeeded is told again, one that is under way is waited for, files
that lie in the bucket are not sent anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from headrace.adding.bucket import Bucket, StoreAway
from headrace.adding.errors import CannotAdd
from headrace.adding.given import Given
from headrace.adding.keys import keys_of
from headrace.adding.registered import Registered, origin_of
from headrace.adding.request import Origin, Wish, config_map, job_name, place_of, training_job
from headrace.adding.there import There
from headrace.applied import LOOK_SECONDS, CannotRun, Ended, Report, Wait, apply, tenant_of
from headrace.gallery.progress import of_job
from headrace.kube.client import KubeClient
from headrace.kube.resources import CONFIGMAPS, TRAININGJOBS, Object
from headrace.sentences import bytes_said, joined
from headrace.tracking.client import MlflowClient
from headrace_common.manifest import NAME
from headrace_common.s3 import Place

SAY_SECONDS = 5.0


class HasFailed(CannotAdd):
    """It was asked for before, and there is no version."""


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

    async def of_registered(self, asked: Registered, mlflow_url: str) -> Object:
        """The same of a version in MLflow, which this machine reaches at `mlflow_url`."""
        tenant = await tenant_of(self.client, self.wish.namespace)
        elsewhere = "or name the version's ONNX file, or the folder of its SavedModel, as s3://BUCKET/KEY"
        keys = await keys_of(self.client, self.wish.namespace, self.wish.secret, "read the version", elsewhere)
        async with aiohttp.ClientSession() as session:
            mlflow = MlflowClient(mlflow_url, keys.user, keys.password, session)
            bucket = keys.bucket(tenant, self.s3_url, session, self.report)
            try:
                origin = await origin_of(asked, mlflow, bucket)
            except StoreAway as error:
                raise self._with_hint(error) from error
        self.report(f"{origin.given}: {origin.format} at {origin.uri}{origin.file}")
        return await self.of_address(origin)

    async def of_files(self, given: Given) -> Object:
        """The same of files on this machine. What is sent for it is taken away when it is a version's, or when it will
        be none: where files in the bucket are at fault, the same command is to send them anew.
        """
        tenant = await tenant_of(self.client, self.wish.namespace)
        uri = place_of(tenant["bucket"], self.wish, given.digest)
        origin = Origin(
            uri, digest=given.digest, given=_name(given), file=given.file, format=given.format, size=given.size
        )
        prefix = Place.parse(uri).key
        async with aiohttp.ClientSession() as session:
            try:
                found = await self._asked_before(origin)
            except HasFailed:
                with suppress(CannotAdd):  # the first error is the one that is told
                    await self._take_away(await self._bucket(tenant, session), prefix)
                raise
            bucket = await self._bucket(tenant, session)
            if found is None:
                await self._send(bucket, prefix, given)
            try:
                if found is None:
                    await self._ask(origin)
                job = await self._wait(origin)
            except Ended:
                await self._take_away(bucket, prefix)
                raise
            except CannotRun as error:
                left = f"what was uploaded stays at {uri}; the same command goes on with it"
                raise CannotRun(joined(str(error), left)) from error
            await self._take_away(bucket, prefix)
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
            raise HasFailed(f"TrainingJob {name} has failed before: {of_job(live).line}; to ask again, {remove} first")
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
        elsewhere = "or upload the model yourself, and name it as s3://BUCKET/KEY"
        keys = await keys_of(self.client, self.wish.namespace, self.wish.secret, "upload", elsewhere)
        return keys.bucket(tenant, self.s3_url, session, self.report)

    async def _send(self, bucket: Bucket, prefix: str, given: Given) -> None:
        """Each file that is not there, the manifest last: the prefix is of exactly these bytes."""
        there = await self._objects(bucket, prefix)
        missing = [
            file
            for file in given.files
            if not _is_same(bucket, given.folder / file.path, there.get(f"{prefix}{file.path}"))
        ]
        total = sum(file.size for file in missing)
        self.report(f"uploads {bytes_said(total)} in {len(missing)} of {len(given.files)} files")
        progress = _Progress(self.report, total)
        for file in missing:
            path = given.folder / file.path
            try:
                await bucket.upload(path, f"{prefix}{file.path}", file.sha256, progress.add)
            except OSError as error:
                raise _unreadable(path, error) from error
        await bucket.put(f"{prefix}{NAME}", given.manifest)

    async def _objects(self, bucket: Bucket, prefix: str) -> dict[str, There]:
        try:
            return await bucket.objects(prefix)
        except CannotAdd as error:
            raise self._with_hint(error) from error

    def _with_hint(self, error: CannotAdd) -> CannotAdd:
        if self.s3_url:
            return error
        hint = "if this machine reaches the store at another address (`kubectl port-forward`), name it with --s3-url"
        return CannotAdd(f"{error}: {hint}")

    async def _take_away(self, bucket: Bucket, prefix: str) -> None:
        """The version has its own copy, or there is none. What cannot be taken away costs room and nothing else."""
        try:
            for key in await bucket.objects(prefix):
                await bucket.delete(key)
        except CannotAdd as error:
            place = f"s3://{bucket.name}/{prefix}"
            self.report(f"left in the bucket: {place}, to remove with `aws s3 rm --recursive {place}`: {error}")


@dataclass
class _Progress:
    report: Report
    total: int
    sent: int = 0
    said: float = field(default_factory=time.monotonic)

    def add(self, count: int) -> None:
        self.sent += count
        if time.monotonic() - self.said > SAY_SECONDS:
            self.said = time.monotonic()
            self.report(f"uploaded {bytes_said(self.sent)} of {bytes_said(self.total)}")


def _is_same(bucket: Bucket, path: Path, found: There | None) -> bool:
    try:
        return bucket.is_same(path, found)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> CannotAdd:
    return CannotAdd(f"{path} cannot be read any more: {error.strerror}: add the model again")


def _name(given: Given) -> str:
    """The file's or the folder's name; no path of anybody's machine goes into a run."""
    return given.folder.resolve().name if len(given.files) > 1 else given.files[0].path
