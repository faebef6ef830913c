"""Where a run's clips are: on its device if they fit there well, else streamed from disk."""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch

from frcore.data.augment import ClipPipeline
from frcore.ranks import here

Residence = Literal["auto", "device", "stream"]

log = logging.getLogger(__name__)

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def is_resident(size: int, device: torch.device, residence: Residence = "auto") -> bool:
    """Whether clips that take `size` bytes should lie on a device.

    Args:
        size: of a split, packed.
        device: where batches are made.
        residence: "device" and "stream" decide; "auto" is yes if they take at most half of the
            memory that is free there now (the other half is for the model), or if nobody can tell.
    """
    if residence != "auto":
        return residence == "device"
    free = free_memory(device)
    copies = here().local_size if device.type == "cpu" else 1  # of a run's processes: one each
    return free is None or copies * size <= free / 2


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device could still give; None where the system does not say.

    Of a CPU what Linux calls available (files kept in memory count as free), within the limits of
    the control groups that a container or a cluster's scheduler put the process in.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [_available(), *_left_in_groups()]
    return min((free for free in found if free is not None), default=None)


def tell_residence(
    pipelines: Mapping[str, ClipPipeline], device: torch.device, free: int | None
) -> None:
    """Says in one line where the clips of each split are.

    Args:
        pipelines: by split.
        device: of the run.
        free: bytes that were free there before, if known.
    """
    places = (
        f"{split} {_gigabytes(pipeline.size)} "
        + (f"on {device}" if pipeline.resident else "streamed from disk")
        for split, pipeline in pipelines.items()
    )
    left = "" if free is None else f" ({_gigabytes(free)} were free on {device})"
    log.info("Clips: %s%s.", ", ".join(places), left)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _available() -> int | None:
    try:
        for line in (_PROC / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # neither macOS nor Windows has it
        return None


def _left_in_groups() -> Iterator[int]:
    """What each control group around this process has left, of those with a limit."""
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            base, files = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = _CGROUPS / "memory"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        own = base / path.lstrip("/")
        for folder in (own, *own.parents):
            left = _left_in(folder, *files)
            if left is not None:
                yield left
            if folder == base:
                break


def _left_in(folder: Path, limit: str, usage: str, kept: str) -> int | None:
    """Limit minus usage, in which files that the kernel may drop do not count."""
    try:
        most, used = (folder / limit).read_text(), int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return None if most.strip() == "max" else int(most) - used + int(stat.get(kept, 0))
    except (OSError, ValueError):
        return None
