"""A training as in a pod, and as it is without Headrace: the processes that the comparisons start, and their store."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import boto3

from headrace_local import platform

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "bench"
LIMIT_SECONDS = 1800


def environment(config: dict[str, Any], work: str) -> dict[str, str]:
    """What the launcher finds in a training pod whose working directory is `work`."""
    return {
        "PYTHONPATH": str(ROOT / "runtimes" / "trainer"),
        "HEADRACE_CONFIG": json.dumps(config),
        "HEADRACE_WORK_DIR": work,
        "HEADRACE_TERMINATION_LOG": f"{work}/termination-log",
        "HEADRACE_BIND": "127.0.0.1",
        "AWS_ACCESS_KEY_ID": platform.ROOT[0],
        "AWS_SECRET_ACCESS_KEY": platform.ROOT[1],
        "MLFLOW_TRACKING_USERNAME": platform.ADMIN[0],
        "MLFLOW_TRACKING_PASSWORD": platform.ADMIN[1],
    }


def inherited() -> dict[str, str]:
    """What both sides of a comparison find in their environment."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def start(
    command: list[str], variables: dict[str, str], output: Path, cores: set[int] | None = None
) -> subprocess.Popen[bytes]:
    """Starts a training whose words go to `output`; with `cores` it, and all that it starts, has these alone."""
    with output.open("wb") as file:
        return subprocess.Popen(
            ["taskset", "--cpu-list", ",".join(map(str, sorted(cores))), *command] if cores else command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(process: subprocess.Popen[bytes], output: Path) -> None:
    """Waits for the end; SystemExit with the last words where it failed."""
    try:
        code = process.wait(LIMIT_SECONDS)
    finally:
        process.kill()
    if code != 0:
        raise SystemExit(f"the training ended with code {code}:\n{output.read_text(errors='replace')[-2000:]}")


def family(pid: int) -> list[int]:
    """A process and all that it has started, as proc(5) has them."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_seconds(pid: int, last: float) -> float:
    """User and system time of this one process, as proc(5) has it; `last` once the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return last
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else last


def s3(url: str) -> Any:
    """A client of the bench's own store."""
    key, secret = platform.ROOT
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name=platform.REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def keys(store: str, prefix: str) -> list[str]:
    """What lies in the bench's bucket below a prefix."""
    found = s3(store).list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in found.get("Contents", [])]
