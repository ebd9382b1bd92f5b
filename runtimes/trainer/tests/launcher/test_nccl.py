"""A failure that NCCL's words end with says what to try."""

from __future__ import annotations

import pytest

from headrace_trainer.launcher.failures.judge import ChildEnd, judge
from headrace_trainer.launcher.failures.nccl import advised
from headrace_trainer.launcher.messages import ScriptException

TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n'
UNHANDLED = "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp:1333, unhandled system error, NCCL version 2.21.5"
TENSORFLOW = ScriptException(0, "InternalError", "NCCL: unhandled system error. [Op:CollectiveReduceV2]", None, "")


@pytest.mark.parametrize(
    "end",
    [
        ChildEnd(1, 5, is_followed=False, log_tail=TRACEBACK + UNHANDLED),
        ChildEnd(1, 5, exception=TENSORFLOW),
        ChildEnd(-6, 5, is_followed=False, log_tail="terminate called\n  what(): ncclSystemError: Call to bind failed"),
    ],
    ids=["PyTorch", "TensorFlow", "aborted"],
)
def test_a_failure_of_nccl_names_the_variables_that_say_more(end):
    failure = advised(judge(end), end)
    assert failure is not None
    assert "NCCL_DEBUG=INFO" in failure.hint
    assert "NCCL_SOCKET_IFNAME" in failure.hint
    assert failure.hint.endswith("-c trainer.")  # what there is to read otherwise


def test_nccl_s_own_log_before_another_exception_is_no_cause():
    log = f"worker-0:1 [0] NCCL INFO Bootstrap: Using eth0\n{TRACEBACK}ValueError: shapes (3,) and (4,)"
    end = ChildEnd(1, 5, is_followed=False, log_tail=log)
    failure = advised(judge(end), end)
    assert failure is not None
    assert "NCCL" not in failure.hint


def test_a_script_that_ended_well_needs_no_hint():
    end = ChildEnd(0, 5, is_followed=False, log_tail="NCCL INFO comm destroyed")
    assert advised(judge(end), end) is None
