"""What this machine has: the device that models run on, its memory, and room on the disk of UNILOGIT_HOME."""

import shutil
from dataclasses import dataclass

import psutil

from tasks.workspace import home


@dataclass(frozen=True)
class Machine:
    """Bytes.

    Attributes:
        device: what it is, for people.
        gpus: memory of each GPU; empty where models run on the CPU.
        memory: of the smallest GPU, or of the machine as far as a process may use it.
        free_memory: of that, what can be had now.
        free_disk: of the disk that UNILOGIT_HOME is on.
        program: of the memory, what this process has without a model; 0 where models run on GPUs.
    """

    device: str
    gpus: tuple[int, ...]
    memory: int
    free_memory: int
    free_disk: int
    program: int


def look_around() -> Machine:
    """This machine, as it is now."""
    import torch

    from unilogit.memory import free_memory, total_memory
    from unilogit.training.launch import gpu_memory

    gpus = tuple(gpu_memory())
    device = torch.device("cuda" if gpus else "cpu")
    name = torch.cuda.get_device_name(0) if gpus else "CPU"
    folder = next(path for path in (home(), *home().parents) if path.exists())
    return Machine(
        device=f"{len(gpus)} × {name}" if len(gpus) > 1 else name,
        gpus=gpus,
        memory=min(gpus, default=0) or total_memory(device),
        free_memory=free_memory(device),
        free_disk=shutil.disk_usage(folder).free,
        program=0 if gpus else psutil.Process().memory_info().rss,
    )
