"""An image need not have the system's time zones, which Arrow asks for: everything works without them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ZONES = Path("/usr/share/zoneinfo")
WITHOUT = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
HIDDEN = f'mount -t tmpfs none {ZONES} && exec "$@"'
SCRIPT = """
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

sys.path.insert(0, sys.argv[1])
from table_support import prepare

try:
    pc.strftime(pa.array([0], pa.timestamp("us", "UTC")))
except pa.ArrowException:
    print("no zones")

LINES = "id,name,seen,at\\n" + "".join(f"{n},ann,2026-11-0{n}T08:00:00+01:00,2026-11-0{n}\\n" for n in range(1, 6))
ASKED = {
    "schema": {"columns": [{"name": name, "type": "Timestamp"} for name in ("seen", "at")]},
    "privacy": {
        "columns": [{"name": "seen", "action": "Hash"}, {"name": "name", "action": "Mask"}],
        "detect": "Refuse",
    },
}
SPLITS = ({"train": "0.8", "test": "0.2", "time": "at"}, {"train": "0.8", "test": "0.2", "group": "seen"})
room = Path(sys.argv[2])
for split in SPLITS:
    for write in ({"format": "CSV", "compression": "Gzip"}, {"format": "Parquet"}):
        made = prepare(room, {"a.csv": LINES}, split=split, write=write, **ASKED)
        for part in ("train", "test"):
            path = next(made.folder.glob(f"{part}.*"))
            frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, parse_dates=["at"])
            zone = frame["at"].dt.tz
            print(path.name, len(frame), frame["name"][0], len(frame["seen"][0]), zone)
again = prepare(room, {"a.parquet": next(made.folder.glob("train.parquet")).read_bytes()}, write={"format": "CSV"})
print(len(again.files))
"""


def test_tables_with_times_are_prepared_and_read(tmp_path):
    if not ZONES.is_dir() or subprocess.run([*WITHOUT, HIDDEN, "sh", "true"], check=False).returncode != 0:
        pytest.skip("no folder of zones that could be hidden here")
    command = [*WITHOUT, HIDDEN, "sh", sys.executable, "-c", SCRIPT, str(Path(__file__).parents[1]), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    per_split = [
        "train.csv.gz 4 *** 64 UTC",
        "test.csv.gz 1 *** 64 UTC",
        "train.parquet 4 *** 64 UTC",
        "test.parquet 1 *** 64 UTC",
    ]
    told = ran.stdout.splitlines()
    assert told[0] == "no zones"
    assert [line for line in told if "***" in line] == per_split * 2
    assert told[-1] == "2"
