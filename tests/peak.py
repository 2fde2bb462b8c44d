"""The most memory that a process had."""

from pathlib import Path


def peak_memory() -> int:
    """Bytes that were resident at the most, of this program: `ru_maxrss` has the peak of what started it as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
