"""Which entry of the table a service means, and why it may mean none (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from headrace.api.modelservice import Batching, Runtime
from headrace.rollout.adapter import PodMetrics
from headrace.serving.runtimes.table import Runtimes, ServingRuntime

# On a pod whose counters are read as this entry of the table says. The release's own first two have none: their pods
# are rendered as they were before there was a table, and are told apart by where their counters are.
RUNTIME_ANNOTATION = "headrace.dev/serving-runtime"
UNMARKED = ("onnxruntime", "tensorflow-serving")


def why_not(runtime: Runtime, runtimes: Runtimes, refused: Mapping[str, str]) -> tuple[str, str] | None:
    """Reason and message where no server can be rendered of it; `refused` says why an entry cannot be used, by name."""
    entry = runtimes.get(runtime.name)
    if entry is None and (fault := refused.get(runtime.name)) is not None:
        message = f"runtime {runtime.name} cannot be used, {fault}: let an administrator correct the chart's values"
        return "RuntimeInvalid", message
    if entry is None:
        known = ", ".join(sorted(runtimes)) or "none"
        message = (
            f"there is no runtime {runtime.name!r} here; there is {known}: correct spec.runtime.name, or let an "
            "administrator add it to servingRuntimes in the chart's values"
        )
        return "RuntimeNotFound", message
    if entry.format(runtime.format) is None:
        taken = ", ".join(one.name for one in entry.formats)
        others = sorted(name for name, other in runtimes.items() if other.format(runtime.format) is not None)
        elsewhere = f", or spec.runtime.name: {', '.join(others)}" if others else ""
        message = (
            f"runtime {runtime.name} does not serve format {runtime.format}, it serves {taken}: correct "
            f"spec.runtime.format{elsewhere}"
        )
        return "FormatNotServed", message
    told = batching_arguments(entry, runtime.batching)
    if lacks := next((field for field, argument in told.items() if not argument), None):
        message = (
            f"runtime {runtime.name} cannot be told spec.runtime.batching.{lacks}: leave it out; if the server has an "
            f"argument for it, set spec.runtime.args, or let an administrator set batching.{lacks} of its entry in "
            "servingRuntimes"
        )
        return "BatchingNotServed", message
    if not (runtime.image or entry.image):
        message = f"runtime {runtime.name} has no image of its own: set spec.runtime.image"
        return "RuntimeImageMissing", message
    return None


def batching_arguments(entry: ServingRuntime, asked: Batching | None) -> dict[str, str]:
    """By the field that is asked for: the argument by which the server is told it, empty where it has none."""
    found: dict[str, str] = {}
    if asked is not None and asked.max_size is not None:
        found["maxSize"] = entry.batching.max_size.replace("$(MAX_SIZE)", str(asked.max_size))
    if asked is not None and asked.max_delay is not None:
        seconds = f"{asked.max_delay.total_seconds():g}"
        found["maxDelay"] = entry.batching.max_delay.replace("$(MAX_DELAY_SECONDS)", seconds)
    return found


def serves(runtime: Runtime, runtimes: Runtimes) -> str | None:
    """The format that the service's server gets; None: there is no such server."""
    entry = runtimes.get(runtime.name)
    served = entry.format(runtime.format) if entry is not None else None
    return served.name if served is not None else None


def is_unmarked(name: str, metrics: PodMetrics | None) -> bool:
    """Whether the pods of this entry have no RUNTIME_ANNOTATION."""
    return name in UNMARKED and metrics is not None


def metrics_of(annotations: Mapping[str, str], place: tuple[int, str], runtimes: Runtimes) -> PodMetrics | None:
    """How the counters of pods with these annotations are read, whose counters are at this port and path. None: they
    tell none.
    """
    name = name_of(annotations, place, runtimes)
    entry = runtimes.get(name) if name is not None else None
    return entry.metrics if entry is not None else None


def name_of(annotations: Mapping[str, str], place: tuple[int, str], runtimes: Runtimes) -> str | None:
    """The server of pods with these annotations, whose counters are at this port and path. None: it cannot be told.

    An entry that was changed or taken away after the pods were rendered is not guessed at: its pods would be read by
    another server's counters, and count nothing.
    """
    if (named := annotations.get(RUNTIME_ANNOTATION)) is not None:
        return named
    entries = [(name, entry) for name in UNMARKED if (entry := runtimes.get(name)) is not None]
    return next((name for name, entry in entries if place_of(entry) == place), None)


def place_of(entry: ServingRuntime) -> tuple[int, str] | None:
    """Port and path of its counters."""
    metrics = entry.metrics
    return (entry.ports.by_name()[metrics.port], metrics.path) if metrics is not None else None
