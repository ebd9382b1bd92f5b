"""What the launcher tells the program of the tuning, in a file: HEADRACE_TUNING names it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from headrace_common.protocol.fields import Fields
from headrace_common.protocol.storage import Storage
from headrace_common.protocol.tuning import Tuning, parse_tuning

VARIABLE = "HEADRACE_TUNING"


@dataclass(frozen=True)
class Instructions:
    """`bind` is the address that is listened at, empty: all of them. `run` is the job's, in the MLflow at `url`; models
    of trials lie in `storage`. What all trials came to goes to `results`, an empty folder. MLflow may be away for
    `outage` seconds at the end, and the storage at any time.
    """

    tuning: Tuning
    bind: str
    url: str
    storage: Storage
    run: str
    results: Path
    outage: float

    def as_text(self) -> str:
        return json.dumps(
            {
                "tuning": self.tuning.as_json(),
                "bind": self.bind,
                "url": self.url,
                "storage": self.storage.as_json(),
                "run": self.run,
                "results": str(self.results),
                "outage": self.outage,
            }
        )


def read_instructions(path: Path) -> Instructions:
    """What `as_text` wrote. Raises NotUnderstood, ValueError, OSError: faults of Headrace."""
    found = json.loads(path.read_text())
    tuning = parse_tuning(Fields(found["tuning"], VARIABLE), VARIABLE)
    if tuning is None:
        raise ValueError(f"{VARIABLE} says nothing of a tuning")
    return Instructions(
        tuning=tuning,
        bind=found["bind"],
        url=found["url"],
        storage=Storage(found["storage"]["endpoint"], found["storage"]["region"]),
        run=found["run"],
        results=Path(found["results"]),
        outage=float(found["outage"]),
    )
