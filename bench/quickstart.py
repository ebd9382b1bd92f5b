"""How long the quickstart takes, phase by phase.

    sudo .venv/bin/python bench/quickstart.py [--cold] [--json]

Warm: what is compiled and the images are there (the first run makes them, outside of the clock), the cluster is not.
Cold, only with --cold: with empty caches of its own, Go's and pip's too, so that everything is fetched, compiled and
built anew; only .venv and Debian's packages stay as they are. Both use an instance of their own, `bench-quickstart`,
and take it away.

cold_cpu_seconds is the CPU time of everything that the cold run started, the cluster's programs and its containers
too: the figure to compare, since it depends less on what else the machine does and not on the number of its cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headrace_local import cgroups

ROOT = Path(__file__).resolve().parents[1]
NAME = "bench-quickstart"
LIMIT_SECONDS = 5400
COUNTED = "headrace-bench"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cold", action="store_true", help="measure with an empty cache too")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object on the last line")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        parser.error("the local cluster needs root")
    result: dict[str, Any] = {"cold_seconds": None, "cold_cpu_seconds": None}
    with cgroups.accounted(COUNTED) as counted:
        if arguments.cold:
            cold = measure_cold(counted)
            result |= {f"cold_{name}": cold[name] for name in ("seconds", "cpu_seconds", "phases")}
        warm = measure_warm(counted)
    result |= {"warm_seconds": warm["seconds"], "phases": warm["phases"], "cores": os.cpu_count()}
    if arguments.json:
        print(json.dumps(result))
    else:
        print(json.dumps(result, indent=2))
    return 0


def measure_cold(counted: Path) -> Mapping[str, Any]:
    """A run with nothing made before, in cache folders beside the usual ones."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace-bench-cold"
    shutil.rmtree(cache, ignore_errors=True)
    folders = {"GOCACHE": "go-build", "GOMODCACHE": "go-mod", "PIP_CACHE_DIR": "pip", "UV_CACHE_DIR": "uv"}
    # Go keeps its modules read-only; here they are to go afterwards.
    go = {"GOFLAGS": " ".join(filter(None, [os.environ.get("GOFLAGS"), "-modcacherw"]))}
    own = {name: str(cache / folder) for name, folder in folders.items()}
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), **own, **go}
    try:
        return quickstart(environment, counted)
    finally:
        take_away(environment, "--purge")
        shutil.rmtree(cache, ignore_errors=True)


def measure_warm(counted: Path) -> Mapping[str, Any]:
    """A run after another one, whose cluster is gone but not its images."""
    environment = dict(os.environ)
    try:
        local(environment, "up")
        local(environment, "build")
        take_away(environment)
        return quickstart(environment, counted)
    finally:
        take_away(environment, "--purge")


def quickstart(environment: Mapping[str, str], counted: Path) -> Mapping[str, Any]:
    """Run it; its own account of seconds and phases, and the CPU time. What it prints goes to stderr.

    `counted` is the file of a cgroup that its processes are to be in.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        account = Path(folder) / "phases.json"
        command = [str(ROOT / "scripts" / "quickstart"), "--local", f"--name={NAME}", f"--json={account}"]
        before = cgroups.cpu_seconds(COUNTED)
        join = ["sh", "-c", f'echo 0 > "{counted}" && exec "$@"', "sh"]
        subprocess.run([*join, *command], env=environment, stdout=sys.stderr, timeout=LIMIT_SECONDS, check=True)
        # Containers are in the instance's own cgroup.
        used = cgroups.cpu_seconds(COUNTED) - before + cgroups.cpu_seconds(cgroups.name_of(NAME))
        found: Mapping[str, Any] = json.loads(account.read_text())
    return {**found, "cpu_seconds": round(used, 1)}


def local(environment: Mapping[str, str], verb: str, *flags: str) -> None:
    command = [sys.executable, "-m", "headrace_local", verb, f"--name={NAME}", *flags]
    subprocess.run(command, env=environment, stdout=sys.stderr, timeout=LIMIT_SECONDS, check=True)


def take_away(environment: Mapping[str, str], *flags: str) -> None:
    local(environment, "down", *flags)


if __name__ == "__main__":
    sys.exit(main())
