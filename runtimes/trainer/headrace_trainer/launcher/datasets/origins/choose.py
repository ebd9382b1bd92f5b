"""Which kind of place a dataset's address names."""

from __future__ import annotations

from headrace_common.protocol.config import Dataset
from headrace_trainer.launcher.datasets.mounted import Mounted
from headrace_trainer.launcher.datasets.origins.cloud import AZURE, GOOGLE, Cloud
from headrace_trainer.launcher.datasets.origins.kind import Origin
from headrace_trainer.launcher.datasets.origins.s3 import S3
from headrace_trainer.launcher.datasets.origins.web import SCHEME as WEB
from headrace_trainer.launcher.datasets.origins.web import Web
from headrace_trainer.launcher.datasets.origins.webhdfs import SCHEMES as HADOOP
from headrace_trainer.launcher.datasets.origins.webhdfs import WebHdfs
from headrace_trainer.launcher.store.s3 import Store


def origin_of(dataset: Dataset, store: Store | None, outage_seconds: float) -> Origin:
    """The place that it comes from; `outage_seconds` is how long that may be away."""
    if dataset.mount is not None:
        return Mounted(dataset.mount)
    if dataset.uri.startswith(WEB):
        return Web(outage_seconds)
    if dataset.uri.startswith(tuple(HADOOP)):
        return WebHdfs(dataset, outage_seconds)
    if dataset.uri.startswith((GOOGLE, AZURE)):
        return Cloud(dataset, outage_seconds)
    if store is None:
        raise RuntimeError(f"a configuration with {dataset.uri} has a storage")
    return S3(store, outage_seconds)
