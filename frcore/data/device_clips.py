"""The clips of a split, and their frames as a pipeline keeps them on the device.

What does not change from epoch to epoch is done here, once: centring, bones, the order of the axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from frcore.data.benchmarks import AbsentPerson
from frcore.data.random import sample_keys
from frcore.errors import UserError
from frcore.skeleton import Skeleton

if TYPE_CHECKING:
    import pandas as pd

    from frcore.data.store import Store


@dataclass(frozen=True, eq=False, repr=False)
class DeviceClips:
    """The clips of a split, and what is known of them, for use on one device.

    The arrays are views of the store; a `ClipPipeline` puts its own form of them on the device.
    """

    arrays: list[np.ndarray]  # N arrays (T, M, V, C) float32 on the host
    labels: Tensor  # (N,) int64
    num_frames: Tensor  # (N,) int64
    keys: Tensor  # (N,) int64, from the sample ids: whom random numbers belong to
    sample_ids: list[str]

    @classmethod
    def from_store(
        cls, store: "Store", rows: "pd.DataFrame", device: torch.device | str = "cpu"
    ) -> "DeviceClips":
        """The clips in `rows` (of `store.split(...)`), and no others."""
        clips = [store.clip_at(row) for row in rows.index]
        return cls.from_clips(clips, rows["label"], rows["sample_id"], device)

    @classmethod
    def from_clips(
        cls,
        clips: Sequence[np.ndarray],
        labels: Sequence[int],
        sample_ids: Sequence[str],
        device: torch.device | str = "cpu",
    ) -> "DeviceClips":
        """Clips from arrays (T, M, V, C) with T and M of their own and V and C in common."""
        if len(clips) == 0:
            raise UserError("There are no clips to load: the chosen split is empty.")
        return cls(
            list(clips),
            torch.tensor(list(labels), device=device),
            torch.tensor([len(clip) for clip in clips], device=device),
            sample_keys(sample_ids).to(device),
            list(sample_ids),
        )

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.labels.device

    @property
    def num_joints(self) -> int:
        """V."""
        return self.arrays[0].shape[2]

    @property
    def channels(self) -> int:
        """C."""
        return self.arrays[0].shape[3]

    def __len__(self) -> int:
        return len(self.arrays)

    def __repr__(self) -> str:
        size = f"{self.num_joints} joints, {self.channels} channels"
        return f"DeviceClips({len(self)} clips, {size}, for {self.device})"


@dataclass(frozen=True, eq=False)
class Frames:
    """All frames of all clips on the device, one row a frame."""

    rows: Tensor  # (sum of T, C * V * M) float32
    first: Tensor  # (N,) int64: the row of each clip's first frame
    present: Tensor | None  # (sum of T, M) float32, 0 where nobody is there; None: all are
    outline: Tensor | None  # (N, C, P): points with the extent of the whole clip's joints


def pack_frames(
    clips: DeviceClips,
    skeleton: Skeleton,
    num_persons: int,
    *,
    center: bool,
    bones: bool,
    outline: bool,
    hull: bool,
    absent_person: AbsentPerson = "zero",
) -> Frames:
    """Puts the clips on their device, centred and as bones if asked for.

    Args:
        clips: the clips.
        skeleton: their body.
        num_persons: M; further persons are left out.
        center: subtract the centre joint of person 0 in the first frame that has one.
        bones: child minus parent instead of positions; the root becomes zero.
        outline: also keep each clip's outline, of (centred) positions in any case.
        hull: the outline must have the clip's extent in every direction, not along the axes only.
        absent_person: persons that a clip has no place for: zero, or copies of its first one.
    """
    lengths = [len(clip) for clip in clips.arrays]
    first = np.cumsum([0, *lengths])
    shape = (first[-1], clips.channels, clips.num_joints, num_persons)
    rows = np.zeros(shape, dtype=np.float32)
    present = np.zeros((first[-1], num_persons), dtype=np.float32)
    outlines = []
    for clip, start, length in zip(clips.arrays, first[:-1], lengths, strict=True):
        clip = clip[:, :num_persons]
        if absent_person == "copy" and clip.shape[1] < num_persons:
            clip = clip[:, [*range(clip.shape[1]), *[0] * (num_persons - clip.shape[1])]]
        there = clip.any(axis=(2, 3))  # (T, M)
        if center:
            middle = clip[there[:, 0].argmax(), 0, skeleton.center]
            clip = np.where(there[:, :, None, None], clip - middle, 0)
        here = slice(start, start + length), ..., slice(clip.shape[1])
        rows[here] = clip.transpose(0, 3, 2, 1)
        present[here] = there
        if outline:
            outlines.append(_extreme_points(clip[there].reshape(-1, clips.channels), hull=hull))
    if bones:
        for start, length in zip(first[:-1], lengths, strict=True):
            x = rows[start : start + length]
            x -= x[:, :, skeleton.parents]
    device = clips.device
    return Frames(
        torch.from_numpy(rows).flatten(1).to(device),
        torch.from_numpy(first[:-1].copy()).to(device),
        None if present.all() else torch.from_numpy(present).to(device),
        _padded(outlines).to(device) if outline else None,
    )


def _extreme_points(cloud: np.ndarray, *, hull: bool) -> np.ndarray:
    """(P, C) points with the extent of `cloud` (K, C) along the axes or (`hull`) any direction.

    The vertices of the convex hull are some tens of a clip's hundreds or thousands of points, and
    their extent is exact, after any rotation.
    """
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
