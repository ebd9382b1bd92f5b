"""How a revision's pods get their model, by what their loaders say of themselves (pure).

A loader that is at work is asked over HTTP; one that has ended has left a record in its pod's status.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from headrace.api.modelservice_status import LoadSource, LoadState, LoadStatus
from headrace.sentences import bytes_said
from headrace.serving.observed import ServingPod
from headrace_common.protocol.loading import Loading

# A status is written for each answer.
ASK_EVERY = timedelta(seconds=15)
# While none answers: a loader's first second passes before it does.
ASK_AGAIN = timedelta(seconds=3)


def load_of(before: LoadStatus | None, pods: Sequence[ServingPod]) -> LoadStatus | None:
    """What status says of the revision of these pods. While none has been asked anew it is what it was `before`."""
    told = [(pod, pod.loading) for pod in pods if pod.loading is not None]
    if at_work := [(pod, loading) for pod, loading in told if pod.loader_port is not None]:
        pod, loading = min(at_work, key=lambda one: (_share(one[1]), one[0].name))
        return _status(LoadState.LOADING, pod, loading)
    if any(pod.loader_port is not None for pod in pods):
        return before
    if not told:
        return None
    pod, loading = max(told, key=lambda one: (one[1].seconds, one[0].name))
    return _status(LoadState.LOADED, pod, loading)


def said(load: LoadStatus | None) -> str:
    """How far it is, for a message that says what is waited for; empty where that is not the model's files."""
    if load is None or load.state is LoadState.LOADED:
        return ""
    of = "" if load.total_bytes is None else f" of {bytes_said(load.total_bytes)}"
    problem = f", and storage gives no more at present: {load.problem}" if load.problem else ""
    return f"pod {load.pod} has {bytes_said(load.bytes)}{of} of the model after {load.seconds} s{problem}"


def _share(loading: Loading) -> float:
    return loading.bytes / loading.total_bytes if loading.total_bytes else 0.0


def _status(state: LoadState, pod: ServingPod, loading: Loading) -> LoadStatus:
    lay_there = state is LoadState.LOADED and loading.fetched_bytes == 0
    return LoadStatus(
        state=state,
        pod=pod.name,
        bytes=loading.bytes,
        total_bytes=loading.total_bytes,
        fetched_bytes=loading.fetched_bytes,
        seconds=round(loading.seconds),
        source=LoadSource.VOLUME if lay_there else LoadSource.STORAGE,
        problem=loading.problem or None,
    )
