"""The locks of images that are to have the same packages."""

import re
from pathlib import Path

import pytest

from headrace_trainer.launcher import fontcache

ROOT = Path(__file__).parents[2]


def locked(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def test_the_image_for_gpus_has_the_trainer_s_packages_and_cuda():
    cpu, gpu = locked("trainer"), locked("trainer-gpu")
    assert gpu["tensorflow"] == cpu.pop("tensorflow-cpu")
    assert cpu.items() <= gpu.items()
    others = {name for name in gpu if name not in cpu} - {"tensorflow"}
    assert {"nvidia-cudnn-cu12", "nvidia-nccl-cu12"} <= others
    assert all(name.startswith("nvidia-") for name in others), others


@pytest.mark.parametrize("target", ["trainer", "trainer-gpu"])
def test_each_image_has_what_prepares_tables_and_the_times_of_zones_that_pandas_reads_them_with(target):
    assert {"pandas", "pandera", "pyarrow", "phonenumberslite", "python-stdnum", "tzdata"} <= locked(target).keys()


@pytest.mark.parametrize("target", ["trainer", "trainer-gpu"])
def test_each_image_is_built_from_its_lock(target):
    stages = re.split(r"^FROM \S+ AS ", (ROOT / "runtimes/trainer/Dockerfile").read_text(), flags=re.MULTILINE)
    [stage] = [stage for stage in stages if stage.startswith(f"{target}\n")]
    assert f"source=requirements/{target}.txt" in stage
    assert "COPY --from=code /opt/headrace /opt/headrace" in stage


@pytest.mark.parametrize("target", ["trainer", "trainer-gpu"])
def test_each_image_has_the_list_of_fonts_that_the_launcher_lays_out(target):
    stages = re.split(r"^FROM \S+ AS ", (ROOT / "runtimes/trainer/Dockerfile").read_text(), flags=re.MULTILINE)
    [stage] = [stage for stage in stages if stage.startswith(f"{target}\n")]
    assert f"ENV {fontcache.VARIABLE}=" in stage
    assert f'MPLCONFIGDIR="${fontcache.VARIABLE}" /opt/venv/bin/python -c "import matplotlib.font_manager"' in stage


def test_the_image_that_is_built_where_none_is_named_is_for_cpus():
    dockerfile = (ROOT / "runtimes/trainer/Dockerfile").read_text()
    assert re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.MULTILINE)[-1] == "trainer"
