"""Which objects of a dataset each worker of a gang gets.

Each object is in one worker's part, and no two parts differ by more bytes than the largest object has: the largest one
not yet given goes to who has least. The same list gives the same parts, in whatever order it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from headrace_common.protocol.config import Dataset
from headrace_common.protocol.reasons import Reason
from headrace_trainer.launcher.datasets.objects import Object, address_of
from headrace_trainer.launcher.failures.judge import Failed, Failure
from headrace_trainer.launcher.log import log


def part_of(objects: Sequence[Object], worker: int, workers: int) -> Sequence[Object]:
    """In the order that they have in the list. A part has no byte only where fewer objects than workers have some: they
    are given first, and each to who has none.
    """
    loads = [(0, 0, index) for index in range(workers)]  # bytes, objects, worker: sorted, and so a heap
    mine = set()
    for one in sorted(objects, key=lambda one: (-one.size, one.path)):
        size, count, index = loads[0]
        heapq.heapreplace(loads, (size + one.size, count + 1, index))
        if index == worker:
            mine.add(one.path)
    return tuple(one for one in objects if one.path in mine)


def share(dataset: Dataset, objects: Sequence[Object], worker: int, workers: int) -> Sequence[Object]:
    """What this worker gets of a dataset: all of it, where that is not to be divided. Raises Failed (DatasetNotDivided)
    where there is not one object with bytes for each: Spark and others leave empty ones as marks.
    """
    if dataset.shard is None or workers == 1:
        return objects
    full = sum(one.size > 0 for one in objects)
    if full < workers:
        raise Failed(
            Failure(
                Reason.DATASET_NOT_DIVIDED,
                f"dataset {dataset.name}: {address_of(dataset)} has {full} object(s) that are not empty, and there "
                f"are {workers} workers: each is to get at least one",
                "Store the data in more files, some for each worker and of about the same size, or leave shard out: "
                "then each worker gets all of it.",
            )
        )
    mine = part_of(objects, worker, workers)
    log(f"dataset {dataset.name}: {len(mine)} of {len(objects)} objects are this worker's part")
    return mine
