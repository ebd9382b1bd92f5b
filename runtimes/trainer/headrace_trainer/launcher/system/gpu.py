"""GPUs of the container, as the program `nvidia-smi` tells them. Where there is no such program there are none.

Its exit code is not looked at: the launcher is PID 1, and the thread that reaps all orphans may have taken it. What it
prints is either a line for each GPU or the reason why there is none.
"""

from __future__ import annotations

import math
import shutil
import subprocess

from headrace_trainer.launcher.log import log

_PROGRAM = "nvidia-smi"
_FIELDS = ("index", "utilization.gpu", "memory.used", "memory.total", "power.draw", "enforced.power.limit")
_TIMEOUT = 10.0
_TRIES = 3  # a driver that hangs is not asked for ever: what hangs with it may not be ended by a signal
_MEBIBYTE = 1024 * 1024 / 1e6  # in megabytes


def is_known() -> bool:
    """Whether the container can be asked for its GPUs at all."""
    return shutil.which(_PROGRAM) is not None


class Gpus:
    """Asks as long as there are answers."""

    def __init__(self) -> None:
        self._program = shutil.which(_PROGRAM)
        self._failures = 0

    def sample(self) -> dict[str, float]:
        """MLflow's names with their values now; empty where nothing can be said."""
        if self._program is None:
            return {}
        answer = _ask(self._program)
        metrics = parse(answer)
        if metrics:
            self._failures = 0
            return metrics
        self._failures += 1
        if self._failures == _TRIES:
            log(f"nvidia-smi says nothing of GPUs and is asked no more: {answer.strip()[:200]}")
            self._program = None
        return {}


def parse(answer: str) -> dict[str, float]:
    """MLflow's names from nvidia-smi's lines. What a GPU cannot say (`[N/A]`: a part of one, or no sensor) is left
    out.
    """
    metrics: dict[str, float] = {}
    for line in answer.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(_FIELDS) or not cells[0].isdigit():
            continue
        busy, used, total, power, most = (_number(cell) for cell in cells[1:])
        of_gpu = {
            "utilization_percentage": busy,
            "memory_usage_megabytes": None if used is None else used * _MEBIBYTE,
            "memory_usage_percentage": _percent(used, total),
            "power_usage_watts": power,
            "power_usage_percentage": _percent(power, most),
        }
        metrics |= {f"gpu_{cells[0]}_{name}": value for name, value in of_gpu.items() if value is not None}
    return metrics


def _ask(program: str) -> str:
    command = [program, f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        return str(error)
    try:
        answer, _ = process.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        return f"no answer within {_TIMEOUT:.0f} s"
    return answer.decode("utf-8", errors="replace")


def _percent(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else 100 * part / whole


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
