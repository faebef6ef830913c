"""Clips as rows of frames: what does not change from epoch to epoch is done here, once a clip.

Centring, bones, absent persons, the order of the axes. A whole split is packed where it stays on
the device, a batch at a time where it is streamed: the rows of a clip are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from frcore.data.benchmarks import AbsentPerson
from frcore.skeleton import Skeleton

_PART = 256  # clips prepared at a time: what is made meanwhile stays small


@dataclass(frozen=True, eq=False)
class Frames:
    """All frames of some clips, one row a frame."""

    rows: Tensor  # (sum of T, C * V * M) float32
    first: Tensor  # (N,) int64: the row of each clip's first frame
    present: Tensor | None  # (sum of T, M) float32, 0 where nobody is; None: not needed
    outline: Tensor | None  # (N, C, P): points with the extent of the whole clip's joints

    def to(self, device: torch.device) -> "Frames":
        """On a device; from pinned memory the copy does not wait."""
        tensors = (self.rows, self.first, self.present, self.outline)
        there = (None if t is None else t.to(device, non_blocking=True) for t in tensors)
        return Frames(*there)


@dataclass(frozen=True)
class Packing:
    """What the rows of a frame hold."""

    skeleton: Skeleton
    channels: int
    num_persons: int  # M; further persons are left out
    center: bool = False  # subtract the centre joint of person 0 in the first frame that has one
    bones: bool = False  # child minus parent instead of positions
    keep_root: bool = False  # the root's bone is its position instead of zero
    outline: bool = False  # keep each clip's outline, of (centred) positions in any case
    hull: bool = False  # with its extent in every direction, not along the axes only
    absent_person: AbsentPerson = (
        "zero"  # persons that a clip has no place for: or copies of its 1st
    )

    @property
    def width(self) -> int:
        """Numbers a row."""
        return self.channels * self.skeleton.num_joints * self.num_persons

    @cached_property
    def joint_of(self) -> np.ndarray:
        """(width,) int64: whose coordinate a number of a row is."""
        shape = (self.channels, self.skeleton.num_joints, self.num_persons)
        return np.indices(shape)[1].ravel()

    @cached_property
    def _parent_column(self) -> np.ndarray:
        """(width,) int64: where the same coordinate of the joint's parent stands."""
        c, v, m = np.indices((self.channels, self.skeleton.num_joints, self.num_persons))
        parent = self.skeleton.parents[v]
        return ((c * self.skeleton.num_joints + parent) * self.num_persons + m).ravel()

    def prepare(self, clips: Sequence[np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, list]:
        """Fills the rows (sum of T, width), zero before, of clips (T, M', V, C).

        NumPy alone: it runs in background threads, where torch would start threads of its own.

        Returns:
            Who is there (sum of T, M) bool, and the clips' outlines, if asked for.
        """
        shape = (self.channels, self.skeleton.num_joints, self.num_persons)
        frames = rows.reshape(-1, *shape)  # a view
        present = np.zeros((len(rows), self.num_persons), dtype=bool)
        outlines, start = [], 0
        for clip in clips:
            stop, persons = start + len(clip), min(clip.shape[1], self.num_persons)
            clip = clip[:, :persons]
            there = clip.any(axis=(2, 3))  # (T, M')
            middle = np.zeros(self.channels, dtype=np.float32)
            if self.center:
                middle = clip[there[:, 0].argmax(), 0, self.skeleton.center]
            own = frames[start:stop, ..., :persons]
            np.subtract(clip.transpose(0, 3, 2, 1), middle[:, None, None], out=own)
            if not there.all():
                own.transpose(0, 3, 1, 2)[~there] = 0
            present[start:stop, :persons] = there
            if self.absent_person == "copy" and persons < self.num_persons:
                frames[start:stop, ..., persons:] = own[..., :1]
                present[start:stop, persons:] = there[:, :1]
            if self.outline:
                outlines.append(_extreme_points(clip[there] - middle, hull=self.hull))
            start = stop
        if self.bones:
            parents = rows.take(self._parent_column, axis=1)
            if self.keep_root:
                parents[:, self.joint_of == self.skeleton.root] = 0
            rows -= parents
        return present, outlines


def pack_frames(
    clips: Sequence[np.ndarray],
    packing: Packing,
    device: torch.device | str = "cpu",
    *,
    pinned: bool = False,
) -> Frames:
    """The frames of clips (T, M, V, C) on a device. Beside them, memory holds some clips only.

    Args:
        clips: arrays of T and M of their own.
        packing: what a row holds.
        device: where to.
        pinned: in memory of the host from which copies to a CUDA device do not wait.
    """
    device = torch.device(device)
    on_host = device.type == "cpu"
    first = np.cumsum([0, *(len(clip) for clip in clips)])
    rows = _zeros((int(first[-1]), packing.width), pinned) if on_host else None
    if rows is None:
        rows = torch.empty((int(first[-1]), packing.width), device=device)
    present, outlines = [], []
    for start in range(0, len(clips), _PART):
        part = clips[start : start + _PART]
        own = rows[first[start] : first[start + len(part)]]
        here = own if on_host else _zeros(own.shape, pinned=False)
        found, points = packing.prepare(part, here.numpy())
        if not on_host:
            own.copy_(here)
        present.append(found)
        outlines += points
    kept = None
    if packing.outline and not all(found.all() for found in present):
        kept = torch.from_numpy(np.concatenate(present, dtype=np.float32))
    tensors = (torch.from_numpy(first[:-1].copy()), kept, _padded(outlines) if outlines else None)
    if pinned:
        tensors = (None if t is None else t.pin_memory() for t in tensors)
    return Frames(rows, *tensors).to(device)


def _zeros(shape: Sequence[int], pinned: bool) -> Tensor:
    if pinned:
        return torch.zeros(shape, pin_memory=True)
    return torch.from_numpy(np.zeros(shape, dtype=np.float32))  # pages come as they are written


def _extreme_points(cloud: np.ndarray, *, hull: bool) -> np.ndarray:
    """(P, C) points with the extent of `cloud` (..., C) along the axes or (`hull`) any direction.

    The vertices of the convex hull are some tens of a clip's hundreds or thousands of points, and
    their extent is exact, after any rotation.
    """
    cloud = cloud.reshape(-1, cloud.shape[-1])
    if len(cloud) == 0:
        return np.zeros((1, cloud.shape[1]), dtype=np.float32)
    if not hull:
        return np.stack([cloud.min(axis=0), cloud.max(axis=0)])
    try:
        return cloud[ConvexHull(cloud).vertices]
    except (QhullError, ValueError):  # flat or too few points: no volume, so keep what differs
        return np.unique(cloud, axis=0)


def _padded(points: list[np.ndarray]) -> Tensor:
    """(N, C, P) from N arrays (P', C); a repeated point does not change an extent."""
    width = max(len(p) for p in points)
    padded = [np.pad(p, ((0, width - len(p)), (0, 0)), mode="edge") for p in points]
    return torch.from_numpy(np.stack(padded)).transpose(1, 2).contiguous()
