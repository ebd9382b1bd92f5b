"""How the workers of a gang of any programs find one another: one process a pod, and worker 0 listens.

The names are those that programs read by themselves: torchrun's for torch.distributed (`env://`) and whatever follows
it, `PET_` for torchrun itself (several processes a pod), JAX's, and Keras' for its other backends. A program without
any of these reads HEADRACE_WORKERS, HEADRACE_WORKER_INDEX and HEADRACE_WORKER_ADDRESSES.
"""

from __future__ import annotations

from headrace_common.protocol.config import Workers


def rendezvous(workers: Workers, index: int) -> dict[str, str]:
    """The variables of the worker `index`."""
    # Without the dot at the end, with which not every resolver finds a name of /etc/hosts (gRPC's does not).
    addresses = [address.rstrip(".") for address in workers.addresses]
    first, port, count = addresses[0], workers.port, workers.count
    coordinator = f"{first}:{port}"
    return {
        "MASTER_ADDR": first,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "RANK": str(index),
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": "1",
        "NODE_RANK": str(index),
        "GROUP_RANK": str(index),
        "PET_MASTER_ADDR": first,
        "PET_MASTER_PORT": str(port),
        "PET_NNODES": str(count),
        "PET_NODE_RANK": str(index),
        "JAX_COORDINATOR_ADDRESS": coordinator,
        "JAX_NUM_PROCESSES": str(count),
        "JAX_PROCESS_ID": str(index),
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": coordinator,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(count),
        "KERAS_DISTRIBUTION_PROCESS_ID": str(index),
        "HEADRACE_WORKER_ADDRESSES": ",".join(addresses),
    }
