"""How much memory a device has, and how much of it can still be had; and how it is given back.

Knows nothing of what it is for.
"""

import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

_C_LIBRARY = ctypes.CDLL(None) if os.name == "posix" else None
_LIMITS = (  # of a group of processes (cgroup v2, v1): its limit, what it has, and its entry in memory.stat that can go
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def total_memory(device: torch.device) -> int:
    """Bytes of a GPU, or of the machine as far as this process may use them (a container's limit)."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return min([psutil.virtual_memory().total, *(limit for limit, _ in _groups())])


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had, those that torch keeps for later on a GPU among them."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return max(0, min([psutil.virtual_memory().available, *(limit - taken for limit, taken in _groups())]))


def _groups(system: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[tuple[int, int]]:
    """Limit and taken bytes of every group of processes that this one is in and that has a limit."""
    if not own.is_file():
        return
    for line in own.read_text().splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds not in ("", "memory"):
            continue
        folder = (system / kinds / path.lstrip("/")) if kinds else system / path.lstrip("/")
        for group in (folder, *folder.parents):
            yield from _limit(group)
            if group == system:
                break


def _limit(group: Path) -> Iterator[tuple[int, int]]:
    for limit, taken, can_go in _LIMITS:
        try:
            upper, used = (group / limit).read_text().strip(), int((group / taken).read_text())
            kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if upper.isdigit():  # and not "max"
            yield int(upper), used - int(kept.get(can_go, 0))


def give_back() -> None:
    """Free what is held but not used any more: call it between one piece of work with a model and the next.

    Python leaves what refers to itself, as a trainer with its optimizer does, until it happens to look for it; the C
    library keeps what was freed in between, and torch what was freed on a GPU.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if trim := getattr(_C_LIBRARY, "malloc_trim", None):  # glibc's
        trim(0)
