"""The clips of a split and what is known of them: labels, lengths, identities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from frcore.data.random import sample_keys
from frcore.errors import UserError, counted

if TYPE_CHECKING:
    import pandas as pd

    from frcore.data.store import Store


@dataclass(frozen=True, eq=False, repr=False)
class DeviceClips:
    """The clips of a split, and what is known of them, for use on one device.

    The arrays are views of the store's file, which is read when a `ClipPipeline` packs them.
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
        size = f"{counted(self.num_joints, 'joint')}, {counted(self.channels, 'channel')}"
        return f"DeviceClips({counted(len(self), 'clip')}, {size}, for {self.device})"
