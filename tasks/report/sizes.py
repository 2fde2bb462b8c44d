"""Bytes and seconds as people read them."""


def tell_bytes(count: float) -> str:
    """In powers of ten, three figures: "1.35 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB" if count < 1e4 else f"{count:.0f} TB"


def tell_duration(seconds: float) -> str:
    """Rounded to what an estimate is worth: "under a second", "40 s", "12 min", "3.5 h"."""
    if seconds < 1:
        return "under a second"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
