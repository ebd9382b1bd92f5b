"""What numeric libraries assume of a machine, and is wrong in a pod: that all of a node's cores are theirs, and all of
a GPU's memory. Variables of the script's process; those that are set already are left alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

# OpenMP's is read by PyTorch, scikit-learn, XGBoost and LightGBM. Python's, from 3.13 on, is what os.cpu_count() says.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "PYTHON_CPU_COUNT",
)
# TensorFlow takes all memory of a GPU at its start, also what another process of the pod needs (an evaluation, NCCL).
_OF_GPUS = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def library_defaults(usable_cpus: float, cores: int, inherited: Mapping[str, str]) -> dict[str, str]:
    """`cores` is how many the process may run on, of which it may use `usable_cpus` at a time. More threads than these
    are stopped in the middle of their work, all of them, until the next period.
    """
    found = dict(_OF_GPUS)
    if usable_cpus < cores:
        found |= dict.fromkeys(_THREADS, str(max(1, math.ceil(usable_cpus))))
    return {name: value for name, value in found.items() if name not in inherited}
