"""The clips of a split, packed on one device, and the outline of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from frcore.data.random import sample_keys
from frcore.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from frcore.data.store import Store


@dataclass(frozen=True, eq=False, repr=False)
class DeviceClips:
    """The clips of a split, packed on one device. A row is one person in one frame, (V * C) floats.

    Row `first_row[i] + t * num_persons[i] + m` is frame t, person m of clip i, so a clip is its
    (T, M, V, C) array as stored. One more row, all zero, stands for persons who are not there.
    """

    rows: Tensor  # (R + 1, V * C) float32
    present: Tensor  # (R + 1,) float32: 0 where a row is all zero (nobody there), else 1
    first_row: Tensor  # (N,) int64
    anchor_row: Tensor  # (N,) int64: person 0 in the first frame in which there is one
    num_frames: Tensor  # (N,) int64
    num_persons: Tensor  # (N,) int64
    labels: Tensor  # (N,) int64
    keys: Tensor  # (N,) int64, from the sample ids: whom random numbers belong to
    sample_ids: list[str]
    num_joints: int
    channels: int

    @classmethod
    def from_store(
        cls, store: "Store", rows: "pd.DataFrame", device: torch.device | str = "cpu"
    ) -> "DeviceClips":
        """Copies the clips in `rows` (of `store.split(...)`), and no others, to `device`."""
        joints, channels = store.benchmark.skeleton.num_joints, store.benchmark.channels
        shapes = zip(rows["offset"], rows["num_frames"], rows["num_persons"], strict=True)
        clips = [
            store.frames[at : at + t * m * joints * channels].reshape(t, m, joints, channels)
            for at, t, m in shapes
        ]
        return cls.from_clips(clips, rows["label"], rows["sample_id"], device)

    @classmethod
    def from_clips(
        cls,
        clips: Sequence[np.ndarray],
        labels: Sequence[int],
        sample_ids: Sequence[str],
        device: torch.device | str = "cpu",
    ) -> "DeviceClips":
        """Packs arrays (T, M, V, C) with T and M of their own and V and C in common."""
        if len(clips) == 0:
            raise UserError("There are no clips to load: the chosen split is empty.")
        _, _, joints, channels = clips[0].shape
        frames, persons = np.array([clip.shape[:2] for clip in clips], dtype=np.int64).T
        ends = np.cumsum(frames * persons)
        first = ends - frames * persons
        rows = np.zeros((ends[-1] + 1, joints * channels), dtype=np.float32)
        for clip, start, end in zip(clips, first, ends, strict=True):
            rows[start:end] = clip.reshape(end - start, -1)
        present = rows.any(axis=1)
        anchor = [
            start + m * present[start:end:m].argmax()
            for start, end, m in zip(first, ends, persons, strict=True)
        ]
        integers = (first, anchor, frames, persons, labels)
        return cls(
            torch.from_numpy(rows).to(device),
            torch.from_numpy(present.astype(np.float32)).to(device),
            *(torch.from_numpy(np.asarray(i, dtype=np.int64)).to(device) for i in integers),
            keys=sample_keys(sample_ids).to(device),
            sample_ids=list(sample_ids),
            num_joints=joints,
            channels=channels,
        )

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __repr__(self) -> str:
        size = self.rows.nbytes / 2**20
        return (
            f"DeviceClips({len(self)} clips, {self.num_joints} joints, {self.channels} channels, "
            f"{size:.1f} MiB on {self.rows.device})"
        )


def outline(clips: DeviceClips, center: Tensor, num_persons: int, *, hull: bool) -> Tensor:
    """(N, C, P): few points a clip with the same extent as all its points, padded by repetition.

    Min-max needs the extent of the whole clip after a random rotation. The vertices of the convex
    hull have it along any direction, and are some tens of the hundreds or thousands of points.
    Without rotation two corners of the bounding box do.
    """
    rows, present = clips.rows.cpu().numpy(), clips.present.cpu().numpy() > 0
    starts = clips.first_row.tolist()
    points = []
    for i, (start, frames, persons) in enumerate(
        zip(starts, clips.num_frames.tolist(), clips.num_persons.tolist(), strict=True)
    ):
        some = np.arange(start, start + frames * persons).reshape(frames, persons)
        some = some[:, :num_persons].ravel()
        some = some[present[some]]
        cloud = rows[some].reshape(-1, clips.channels) - center[i].cpu().numpy()
        points.append(_extreme_points(cloud, hull=hull))
    width = max(len(p) for p in points)
    padded = [np.pad(p, ((0, width - len(p)), (0, 0)), mode="edge") for p in points]
    return torch.from_numpy(np.stack(padded)).transpose(1, 2).contiguous().to(clips.rows.device)


def _extreme_points(cloud: np.ndarray, *, hull: bool) -> np.ndarray:
    """(P, C) points with the extent of `cloud` (K, C) along the axes or (`hull`) any direction."""
    if len(cloud) == 0:
        return np.zeros((1, cloud.shape[1]), dtype=np.float32)
    if not hull:
        return np.stack([cloud.min(axis=0), cloud.max(axis=0)])
    try:
        return cloud[ConvexHull(cloud).vertices]
    except (QhullError, ValueError):  # flat or too few points: no volume, so keep what differs
        return np.unique(cloud, axis=0)
