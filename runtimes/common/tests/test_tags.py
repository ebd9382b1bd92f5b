"""How runs are told apart in MLflow."""

from __future__ import annotations

from headrace_common.protocol.config import Stage
from headrace_common.tags import uid_of_stage


def test_the_run_of_a_stage_is_no_other_jobs_or_stages():
    assert uid_of_stage("6f1c", Stage.PREPARE) == "6f1c/prepare"
    assert len({uid_of_stage("6f1c", stage) for stage in Stage} | {"6f1c"}) == len(Stage) + 1
