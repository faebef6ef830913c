"""MS-G3D (Liu et al., "Disentangling and Unifying Graph Convolutions for Skeleton-Based Action
Recognition", CVPR 2020): graphs of every distance, in one frame and across windows of frames.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.backbones.base import Backbone, StageInfo, register_backbone
from frcore.backbones.layers import (
    InputNorm,
    MultiScaleTCN,
    PointwiseConv,
    ProjectionSkip,
    pointwise,
)
from frcore.errors import UserError
from frcore.skeleton import Skeleton

FRAME_SCALES, WINDOW_SCALES = 13, 6  # distances, from 0, in one frame and across frames
WINDOWS = (3, 5)  # frames that a window joins
STAGES = ("low", "mid", "fin")


def distance_graphs(skeleton: Skeleton, scales: int, window: int = 1) -> Tensor:
    """(scales, W*V, W*V) graph k joins nodes k steps apart, and each to itself (Eq. 5, 6).

    In a window of W frames a joint is one step from itself and from its neighbours in every other
    frame (Eq. 7). Each graph is normalised to D^-1/2 A D^-1/2.
    """
    hops = np.tile(skeleton.hop_distance, (window, window))
    same = np.eye(len(hops), dtype=bool)
    hops = np.where((hops == 0) & ~same, 1, hops)  # the same joint in another frame
    graphs = np.stack([(hops == k) | same for k in range(scales)]).astype(np.float32)
    root = 1 / np.sqrt(graphs.sum(axis=2))
    return torch.from_numpy(root[:, :, None] * graphs * root[:, None, :])


class DistanceGraphs(nn.Module):
    """Graphs by distance, each with a learnt residual that starts near zero."""

    def __init__(self, graphs: Tensor) -> None:
        super().__init__()
        self.register_buffer("graphs", graphs, persistent=False)  # (K, V, V)
        self.residual = nn.Parameter(torch.empty_like(graphs).uniform_(-1e-6, 1e-6))

    def forward(self) -> Tensor:
        return self.graphs + self.residual


class FrameConv(nn.Module):
    """Graph convolution in each frame over all distances (MS-GCN, Eq. 4), norm and ReLU."""

    def __init__(self, in_channels: int, channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.graphs = DistanceGraphs(distance_graphs(skeleton, FRAME_SCALES))
        self.conv = PointwiseConv(FRAME_SCALES * in_channels, channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T) of maps (N*M, C, V, T)."""
        graphs = self.graphs().flatten(0, 1).to(x.dtype)  # (K*V, V)
        y = (graphs @ x).unflatten(2, (FRAME_SCALES, -1)).flatten(1, 2)  # (N*M, C*K, V, T)
        return F.relu(self.norm(self.conv(y)))


class WindowConv(nn.Module):
    """Graph convolution across the frames of sliding windows (MS-G3D, Eq. 8), then a map a window.

    1x1 convolutions and windows commute: each frame is convolved once, not once a window. What the
    graphs do to sliding windows is a convolution along time, from K*V to W*V joints.
    """

    def __init__(
        self,
        in_channels: int,
        inner: int,
        channels: int,
        window: int,
        stride: int,
        skeleton: Skeleton,
    ) -> None:
        super().__init__()
        self.window, self.stride = window, stride
        self.graphs = DistanceGraphs(distance_graphs(skeleton, WINDOW_SCALES, window))
        self.conv = nn.Conv2d(in_channels, WINDOW_SCALES * inner, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(inner))
        self.norm = nn.BatchNorm2d(inner)
        self.collapse = PointwiseConv(window * inner, channels)
        self.out_norm = nn.BatchNorm2d(channels)
        bound = 1 / math.sqrt(WINDOW_SCALES * in_channels)  # as one convolution of all scales
        nn.init.uniform_(self.conv.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T') of maps (N*M, C, V, T)."""
        w, v = self.window, x.shape[2]
        weight = self.conv.weight.view(WINDOW_SCALES, -1, x.shape[1])  # (K, C', C)
        y = pointwise(x, weight.transpose(0, 1).flatten(0, 1))  # (N*M, C' * K, V, T)
        y = y.view(-1, WINDOW_SCALES * v, x.shape[3])  # a sequence a channel
        graphs = self.graphs().unflatten(2, (w, v)).to(y.dtype)  # (K, W*V, W, V)
        kernel = graphs.permute(1, 0, 3, 2).flatten(1, 2)  # (W*V, K*V, W)
        y = F.conv1d(y, kernel, stride=self.stride, padding=w // 2)
        y = y.unflatten(0, (x.shape[0], -1)) + self.bias[:, None, None]
        y = F.relu(self.norm(y))  # (N*M, C', W*V, T')
        y = y.unflatten(2, (w, v)).flatten(1, 2)  # (N*M, C' * W, V, T')
        return self.out_norm(self.collapse(y))


class ResidualTCN(nn.Module):
    """Six temporal branches, a skip, and ReLU unless told otherwise."""

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, activate: bool = True
    ) -> None:
        super().__init__()
        self.branches = MultiScaleTCN(
            channels, stride, 3, in_channels=in_channels, dilations=(1, 2, 3, 4)
        )
        same = in_channels == channels and stride == 1
        self.skip = nn.Identity() if same else ProjectionSkip(in_channels, channels, stride)
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        y = self.branches(x) + self.skip(x)
        return F.relu(y) if self.activate else y


class Stage(nn.Module):
    """Graphs in frames and across windows, side by side; then time (STGC block, Fig. 3)."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, skeleton: Skeleton, first: bool
    ) -> None:
        super().__init__()
        inner = channels if first else in_channels  # coordinates are widened at once
        self.frames = nn.Sequential(
            FrameConv(in_channels, inner, skeleton),
            ResidualTCN(inner, channels, stride),
            ResidualTCN(channels, channels, activate=False),
        )
        self.windows = nn.ModuleList(
            WindowConv(in_channels, inner, channels, window, stride, skeleton) for window in WINDOWS
        )
        self.temporal = ResidualTCN(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.frames(x)
        for window in self.windows:
            y = y + window(x)
        return self.temporal(F.relu(y))


class MSG3D(Backbone):
    """Three stages of widths w, 2w and 4w; frames halve (rounded up) before the second and third.

    Args:
        skeleton: its distances make the graphs.
        num_persons: M.
        num_frames: T.
        in_channels: C.
        width: w, a positive multiple of 6 (six temporal branches).

    Raises:
        UserError: another width.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        *,
        num_persons: int,
        num_frames: int,
        in_channels: int = 3,
        width: int = 96,
    ) -> None:
        super().__init__(
            skeleton, num_persons=num_persons, num_frames=num_frames, in_channels=in_channels
        )
        if not isinstance(width, int) or width < 6 or width % 6:
            raise UserError(
                f"width must be a positive multiple of 6 (six branches), not {width!r}."
            )
        self.input_norm = InputNorm(in_channels, skeleton.num_joints, num_persons)
        stages, info, before, frames = [], [], in_channels, num_frames
        for name, factor in zip(STAGES, (1, 2, 4), strict=True):
            channels, stride = factor * width, 1 if factor == 1 else 2
            frames = math.ceil(frames / stride)
            stages.append(Stage(before, channels, stride, skeleton, first=factor == 1))
            info.append(StageInfo(name, channels, frames, skeleton.num_joints))
            before = channels
        self.stages, self.stage_info = nn.ModuleList(stages), tuple(info)

    def forward_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.input_norm(x)  # (N*M, C, V, T)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x.mT)
        return tuple(maps)  # (N*M, C', T', V) each


@register_backbone
def msg3d(skeleton: Skeleton, **overrides: object) -> MSG3D:
    """MS-G3D as published: 96 to 384 channels, two windows."""
    return MSG3D(skeleton, **overrides)


@register_backbone
def msg3d_tiny(skeleton: Skeleton, **overrides: object) -> MSG3D:
    """A quarter of the published width, for tests, demos and first looks."""
    return MSG3D(skeleton, **{"width": 24, **overrides})
