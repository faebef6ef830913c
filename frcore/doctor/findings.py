"""What the doctor says: one thing looked at, its value, and what decides it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    value: Any  # for machines: plain values
    shown: str  # for people
    why: str = ""  # or what decides it


def gigabytes(size: int | None) -> str:
    """ "12.3 GB", "4.5 MB"; "unknown" where nobody can tell."""
    if size is None:
        return "unknown"
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
