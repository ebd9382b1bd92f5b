"""A volume without room for the model: the loader runs with a small one of its own."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

LARGE = "onnx/model.onnx.data"
WAIT_SECONDS = 60.0


@pytest.fixture
def volume(loader):
    """Makes a command run with a volume of so many bytes above the target."""

    def of(size: int) -> list[str]:
        mounted = f'mount -t tmpfs -o size={size} none {loader.target.parent} && exec "$@"'
        within = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]
        if subprocess.run([*within, "true"], check=False, capture_output=True).returncode != 0:
            pytest.skip("no volume can be mounted here")
        return within

    return of


def test_too_little_room_is_told_before_anything_is_fetched(volume, proxy, through, publisher, loader):
    load = loader.finish(loader.start(publisher.publish(), volume(4 << 20), storage=through))

    record = load.record
    assert (load.code, record["class"], record["reason"]) == (4, "Storage", "DiskFull")
    assert "The model needs 5125026 more bytes in " in record["message"]
    assert "are free there" in record["message"]
    assert "ephemeral-storage" in record["hint"]
    assert len(proxy.requests) == 1, "the manifest alone"


def test_a_tenth_of_the_file_system_stays_free(volume, proxy, through, publisher, loader):
    """Below that the kubelet evicts; the model alone would fit."""
    load = loader.finish(loader.start(publisher.publish(), volume(5_400_000), storage=through))

    assert (load.code, load.record["reason"]) == (4, "DiskFull")
    assert "which 540" in load.record["message"]
    assert len(proxy.requests) == 1, "the manifest alone"


def test_a_volume_that_somebody_else_fills_meanwhile_is_told_as_that(hold, volume, through, publisher, loader):
    held = hold(LARGE, 0)
    process = loader.start(publisher.publish(), volume(16 << 20), storage=through)
    assert held.waits.wait(WAIT_SECONDS)
    seen_by_it = Path(f"/proc/{process.pid}/root{loader.target.parent}")
    with (seen_by_it / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(1 << 16)):
            pass
    assert shutil.disk_usage(seen_by_it).free == 0
    held.released.set()

    load = loader.finish(process)

    assert (load.code, load.record["reason"]) == (4, "DiskFull")
    assert "No space left on device" in load.record["message"]
    assert "Traceback" not in load.log
