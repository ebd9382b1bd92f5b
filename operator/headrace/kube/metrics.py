"""The operator's own counters, in the Prometheus text format."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Metrics:
    """Counted by the runtime; `gauges` are asked at the time of a scrape."""

    reconciles: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    gauges: dict[str, tuple[str, Callable[[], float]]] = field(default_factory=dict)

    def render(self) -> str:
        lines = [
            *_counter("headrace_reconciles_total", "Reconciles by kind.", self.reconciles),
            *_counter("headrace_reconcile_errors_total", "Reconciles that ended in an error.", self.errors),
            *_counter("headrace_reconcile_seconds_total", "Time spent in reconciles.", self.seconds),
        ]
        for name, (text, value) in self.gauges.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value():g}"]
        return "\n".join(lines) + "\n"


def _counter(name: str, text: str, values: Mapping[str, float]) -> list[str]:
    return [
        f"# HELP {name} {text}",
        f"# TYPE {name} counter",
        *(f'{name}{{kind="{kind}"}} {value:g}' for kind, value in sorted(values.items())),
    ]
