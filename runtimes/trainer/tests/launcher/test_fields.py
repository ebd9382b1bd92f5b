"""What a hint calls the fields that a stage has for itself."""

from __future__ import annotations

import signal

from headrace_common.protocol.config import Stage
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.failures.fields import in_fields_of
from headrace_trainer.launcher.failures.judge import ChildEnd, Failure, judge
from headrace_trainer.launcher.failures.oom import MemoryKill


def test_more_memory_for_a_preparation_is_asked_for_in_its_own_resources():
    failure = judge(ChildEnd(-signal.SIGKILL, 0, memory_kill=MemoryKill(1 << 30, None)))
    assert failure is not None
    assert "spec.resources.limits.memory" in in_fields_of(Stage.TRAIN, failure).hint
    assert "spec.prepare.resources.limits.memory" in in_fields_of(Stage.PREPARE, failure).hint


def test_what_both_stages_share_and_what_is_named_already_stays():
    hint = "spec.checkpoint.gracePeriod, spec.prepare.datasets, spec.storage.secretRef, spec.imagePullSecrets"
    failure = Failure(Reason.SCRIPT_RAISED, "spec.datasets, as the script has it", hint)
    assert in_fields_of(Stage.PREPARE, failure) == failure
