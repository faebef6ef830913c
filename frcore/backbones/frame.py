"""The frame that this field's networks share: input norm, ten blocks, a stage map after each.

A family brings two units a block: a graph convolution over joints and one along time.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.backbones.base import Backbone, StageInfo
from frcore.backbones.layers import InputNorm, ProjectionSkip
from frcore.errors import UserError
from frcore.skeleton import Skeleton

# Taps of the paper's four-level head (Fig. 3), by block counted from 1; other blocks go by number.
LEVEL_NAMES = {1: "low", 5: "mid", 8: "high", 10: "fin"}

# (in_channels, channels, stride, first) -> graph unit, temporal unit; maps are (N*M, C, V, T)
Units = Callable[[int, int, int, bool], tuple[nn.Module, nn.Module]]


class GraphUnit(nn.Module):
    """A graph convolution, norm and skip; the norm starts near zero, so the skip leads."""

    def __init__(self, conv: nn.Module, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm2d(channels)
        nn.init.constant_(self.norm.weight, 1e-6)
        same = in_channels == channels
        self.skip = nn.Identity() if same else ProjectionSkip(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)) + self.skip(x))


class Block(nn.Module):
    """Graph unit, temporal unit and residual."""

    def __init__(
        self,
        graph: nn.Module,
        temporal: nn.Module,
        in_channels: int,
        channels: int,
        stride: int,
        first: bool,
    ) -> None:
        super().__init__()
        self.graph, self.temporal = graph, temporal
        if first:
            self.residual = None
        elif in_channels == channels and stride == 1:
            self.residual = nn.Identity()
        else:
            self.residual = ProjectionSkip(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.temporal(self.graph(x))
        if self.residual is not None:
            y = y + self.residual(x)
        return F.relu(y)


class TenBlocks(Backbone):
    """Ten blocks of widths w x4, 2w x3, 4w x3; frames halve (rounded up) at blocks 5 and 8.

    Args:
        skeleton: of the clips.
        units: makes the two units of a block.
        num_persons: M.
        num_frames: T.
        in_channels: C.
        width: w, a positive multiple of 4 (units split it into four branches).

    Raises:
        UserError: another width.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        units: Units,
        *,
        num_persons: int,
        num_frames: int,
        in_channels: int = 3,
        width: int = 64,
    ) -> None:
        super().__init__(
            skeleton, num_persons=num_persons, num_frames=num_frames, in_channels=in_channels
        )
        if not isinstance(width, int) or width < 4 or width % 4:
            raise UserError(
                f"width must be a positive multiple of 4 (four branches), not {width!r}."
            )
        widths = [width] * 4 + [2 * width] * 3 + [4 * width] * 3
        self.input_norm = InputNorm(in_channels, skeleton.num_joints, num_persons)
        blocks, stages, frames = [], [], num_frames
        for number, (before, channels) in enumerate(
            zip([in_channels, *widths], widths, strict=False), start=1
        ):
            stride = 2 if number in (5, 8) else 1
            frames = math.ceil(frames / stride)
            first = number == 1
            made = units(before, channels, stride, first)
            blocks.append(Block(*made, before, channels, stride, first))
            name = LEVEL_NAMES.get(number, f"block{number}")
            stages.append(StageInfo(name, channels, frames, skeleton.num_joints))
        self.blocks, self.stage_info = nn.ModuleList(blocks), tuple(stages)

    def forward_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.input_norm(x)  # (N*M, C, V, T): frames lie together
        stages = []
        for block in self.blocks:
            x = block(x)
            stages.append(x.mT)
        return tuple(stages)  # (N*M, C', T', V) each


def skeleton_graph(skeleton: Skeleton) -> Tensor:
    """(3, V, V) identity, inward and outward graph, as `Skeleton.adjacency`."""
    return torch.from_numpy(skeleton.adjacency())
