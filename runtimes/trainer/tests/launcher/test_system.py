"""What the container uses, as MLflow's system metrics of the run."""

import inspect
import os
import signal
import stat

import pytest
from trainer_support import wait_until

from headrace_trainer.launcher.system import gpu
from headrace_trainer.launcher.system.points import mean, samples_a_point
from headrace_trainer.launcher.system.reading import Disk, Network, Reading, metrics_between
from headrace_trainer.launcher.tracking.metrics import Metric
from headrace_trainer.launcher.tracking.spool import Spool

TRAINS = "from standin_adapter import *\ntrain(40, pause=0.05)"
# Those of mlflow.system_metrics.metrics, each with MLflow's prefix.
OF_CONTAINER = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/disk_usage_percentage",
    "system/disk_usage_megabytes",
    "system/disk_available_megabytes",
    "system/network_receive_megabytes",
    "system/network_transmit_megabytes",
}
OF_GPU_0 = {
    "system/gpu_0_utilization_percentage",
    "system/gpu_0_memory_usage_megabytes",
    "system/gpu_0_memory_usage_percentage",
    "system/gpu_0_power_usage_watts",
    "system/gpu_0_power_usage_percentage",
}
OFTEN = {"HEADRACE_SAMPLE_SECONDS": "0.2"}


@pytest.fixture
def tracking(mlflow):
    return mlflow.experiment("system", "s3://unused/mlflow")


@pytest.fixture
def nvidia_smi(tmp_path):
    """Stands in for the program, which needs a GPU: gives the PATH on which it is found."""

    def make(script):
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return {"PATH": f"{program.parent}:{os.environ['PATH']}"}

    return make


def system_keys(mlflow, tracking):
    """Of the experiment's one run."""
    [run] = mlflow.runs(tracking["experimentId"])
    keys = {metric["key"] for metric in run["data"]["metrics"]}
    return run["info"]["run_id"], {key for key in keys if key.startswith("system/")}


# --- in the run ---


def test_a_run_has_mlflow_s_system_metrics_and_the_job_s_report_has_none_of_them(launch, mlflow, tracking):
    launched = launch(TRAINS, config={"tracking": tracking}, env={**OFTEN, "PATH": "/usr/bin:/bin"})
    assert launched.wait() == 0, launched.log

    run_id, found = system_keys(mlflow, tracking)

    assert found == OF_CONTAINER
    memory = mlflow.history(run_id, "system/system_memory_usage_megabytes")
    assert all(1 < point["value"] < 1_000_000 for point in memory)
    busy = mlflow.history(run_id, "system/cpu_utilization_percentage")
    assert any(point["value"] > 0 for point in busy)
    assert all(point["value"] <= 110 for point in busy)
    assert set(launched.record["metrics"]) == {"loss", "val_accuracy"}
    assert launched.record["progress"]["step"] == 40


def test_points_go_on_through_attempts_by_the_age_of_the_run(launch, mlflow, tracking):
    first = launch(TRAINS + "\nraise RuntimeError('no')", config={"tracking": tracking}, env=OFTEN)
    assert first.wait() == 1
    run_id, _ = system_keys(mlflow, tracking)
    before = mlflow.history(run_id, "system/disk_usage_megabytes")
    second = launch(TRAINS, config={"tracking": tracking}, env=OFTEN, attempt=2)
    assert second.wait() == 0, second.log

    [run] = mlflow.runs(tracking["experimentId"])
    points = mlflow.history(run_id, "system/disk_usage_megabytes")

    steps = [point["step"] for point in points]
    assert len(points) > len(before) > 0
    assert steps == sorted(set(steps))
    assert all(abs(p["timestamp"] - run["info"]["start_time"] - 1000 * p["step"]) <= 1000 for p in points)
    assert [m["step"] for m in mlflow.history(run_id, "loss")] == list(range(1, 41))


def test_gpus_are_in_the_run_where_the_program_is(launch, mlflow, tracking, nvidia_smi):
    asked = "--query-gpu=index,utilization.gpu,memory.used,memory.total,power.draw,enforced.power.limit"
    path = nvidia_smi(f'[ "$*" = "{asked} --format=csv,noheader,nounits" ] && echo 0, 95, 1000, 4000, 250.00, 500.00')
    launched = launch(TRAINS, config={"tracking": tracking}, env={**OFTEN, **path})
    assert launched.wait() == 0, launched.log

    run_id, found = system_keys(mlflow, tracking)

    assert found == OF_CONTAINER | OF_GPU_0
    assert {p["value"] for p in mlflow.history(run_id, "system/gpu_0_utilization_percentage")} == {95.0}


def test_a_program_that_fails_is_told_once_and_the_rest_is_measured(launch, mlflow, tracking, nvidia_smi):
    path = nvidia_smi("echo 'NVIDIA-SMI has failed: no driver'\nexit 9")
    launched = launch(TRAINS, config={"tracking": tracking}, env={**OFTEN, **path})
    assert launched.wait() == 0, launched.log

    assert system_keys(mlflow, tracking)[1] == OF_CONTAINER
    assert launched.log.count("NVIDIA-SMI has failed: no driver") == 1


def test_they_wait_while_mlflow_is_away_and_do_not_go_with_a_checkpoint(launch, mlflow, mlflow_gate, s3):
    bucket, tracking = s3.bucket(), mlflow_gate.experiment("system", "s3://unused/mlflow")
    config = {
        "tracking": tracking,
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "checkpoint": {"uri": f"s3://{bucket}/jobs/uid", "intervalSeconds": 1, "keep": 2},
    }
    script = f"{TRAINS.replace('40', '60')}\ncheckpoint(60)\ntime.sleep(600)"
    launched = launch(script, config=config, env=OFTEN)
    wait_until(lambda: "run" in launched.progress and launched.progress.get("step"), 60, "it trains")
    with mlflow_gate.shut():
        wait_until(lambda: launched.progress.get("checkpoint"), 60, "the checkpoint is kept")
        [unsent] = [key for key in s3.keys(bucket) if key.endswith("unsent-metrics.jsonl")]
        assert b"system/" not in s3.get(bucket, unsent)
    wait_until(lambda: launched.progress["conditions"]["tracking"] == "Ok", 60, "it is Ok again")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == 6, launched.log

    run_id, _ = system_keys(mlflow, tracking)
    steps = [point["step"] for point in mlflow.history(run_id, "system/disk_usage_megabytes")]
    assert steps == list(range(steps[0], steps[-1] + 1))  # no second without a point, also of those without MLflow


def test_a_full_spool_takes_nothing_until_it_was_emptied(tmp_path):
    spool = Spool(tmp_path / "spool", most_bytes=80)
    first, second, third = ([Metric("system/x", float(step), step, step)] * 2 for step in (1, 2, 3))
    assert [spool.append(metrics) for metrics in (first, second, third)] == [True, False, False]
    assert spool.front(10).metrics == tuple(first)
    spool.take(spool.front(10))
    assert spool.append(third)
    assert spool.front(10).metrics == tuple(third)


# --- their values ---


def reading(time, **changed):
    known = {
        "cpu": 100.0,
        "cpus": 2.0,
        "memory": 3_000_000,
        "memory_limit": 4_000_000,
        "disk": Disk(30_000_000, 70_000_000),
        "network": Network(5_000_000, 1_000_000),
    }
    return Reading(time=time, **{**known, **changed})


def test_the_values_are_those_of_the_time_between_two_readings():
    begin, before = reading(0), reading(10, cpu=110.0)
    now = reading(20, cpu=125.0, network=Network(9_000_000, 1_500_000))
    assert metrics_between(begin, before, now) == {
        "cpu_utilization_percentage": 75.0,  # 15 s of the 20 s that two CPUs have in 10 s
        "system_memory_usage_megabytes": 3.0,
        "system_memory_usage_percentage": 75.0,
        "disk_usage_percentage": 30.0,
        "disk_usage_megabytes": 30.0,
        "disk_available_megabytes": 70.0,
        "network_receive_megabytes": 4.0,
        "network_transmit_megabytes": 0.5,
    }


def test_what_is_not_known_is_left_out():
    nothing = {"cpu": None, "memory": None, "disk": None, "network": None}
    assert metrics_between(reading(0), reading(1), reading(2, **nothing)) == {}
    assert "system_memory_usage_percentage" not in metrics_between(
        reading(0), reading(1), reading(2, memory_limit=None)
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("", {}),
        ("No devices were found", {}),
        ("a, b, c, d, e, f", {}),
        (
            "1, 50, 100, 200, 30, 60",
            {
                "gpu_1_utilization_percentage": 50.0,
                "gpu_1_memory_usage_megabytes": 104.8576,
                "gpu_1_memory_usage_percentage": 50.0,
                "gpu_1_power_usage_watts": 30.0,
                "gpu_1_power_usage_percentage": 50.0,
            },
        ),
        # a part of a GPU (MIG)
        (
            "0, [N/A], 100, 200, [N/A], [N/A]\n1, nan, [Insufficient Permissions], 200, inf, 0",
            {"gpu_0_memory_usage_megabytes": 104.8576, "gpu_0_memory_usage_percentage": 50.0},
        ),
    ],
)
def test_what_nvidia_smi_says(answer, expected):
    assert gpu.parse(answer) == pytest.approx(expected)


def test_a_program_that_hangs_is_not_waited_for_and_in_the_end_not_asked(monkeypatch, nvidia_smi, capfd):
    monkeypatch.setenv("PATH", nvidia_smi("exec sleep 600")["PATH"])
    monkeypatch.setattr(gpu, "_TIMEOUT", 0.2)
    gpus = gpu.Gpus()
    assert [gpus.sample() for _ in range(5)] == [{}] * 5
    assert capfd.readouterr().err.count("no answer within") == 1


# --- how many there are ---


def points_in(hours):
    """Of an attempt that takes so long, with a sample every 10 s."""
    points = waiting = 0
    for seconds in range(10, hours * 3600 + 1, 10):
        waiting += 1
        if waiting >= samples_a_point(seconds):
            points, waiting = points + 1, 0
    return points


def test_the_first_hour_has_every_sample_and_a_month_has_a_few_thousand_points():
    assert points_in(1) == 360
    assert 1_000 < points_in(24) < 2_000
    assert points_in(24) < points_in(30 * 24) < 3_100


def test_a_point_is_the_mean_of_its_samples():
    assert mean([{"a": 1.0, "b": 5.0}, {"a": 2.0}]) == {"a": 1.5, "b": 5.0}


def test_the_names_are_those_of_mlflow_s_own_monitor():
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    names = set()
    for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor()):
        monitor.collect_metrics()
        names |= {f"system/{name}" for name in monitor.metrics}
    assert names == OF_CONTAINER
    of_gpus = inspect.getsource(GPUMonitor)  # it cannot be made without a GPU
    assert all(f'"{name.removeprefix("system/").replace("_0_", "_{i}_")}"' in of_gpus for name in OF_GPU_0)
