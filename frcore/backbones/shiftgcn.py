"""Shift-GCN (Cheng et al., "Skeleton-Based Action Recognition With Shift Graph Convolutional
Network", CVPR 2020): features move between joints and frames, 1x1 convolutions mix them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.backbones.base import register_backbone
from frcore.backbones.frame import TenBlocks
from frcore.backbones.layers import PointwiseConv, ProjectionSkip
from frcore.skeleton import Skeleton


def shifted_joints(channels: int, num_joints: int, back: bool = False) -> Tensor:
    """(channels * V,) where each channel and joint takes its feature from (non-local shift).

    Channel c of joint v takes that of joint v + c, modulo V; `back` undoes it.
    """
    channel, joint = torch.arange(channels)[:, None], torch.arange(num_joints)
    source = joint - channel if back else joint + channel
    return (channel * num_joints + source % num_joints).flatten()


class ShiftGraphUnit(nn.Module):
    """Shift between joints, 1x1 convolution, shift back, norm a channel and joint, and skip.

    A learnt mask weighs what was shifted, by channel and joint: 1 + tanh(mask).
    """

    def __init__(self, in_channels: int, channels: int, num_joints: int) -> None:
        super().__init__()
        self.mask = nn.Parameter(torch.zeros(in_channels, num_joints, 1))
        self.conv = PointwiseConv(in_channels, channels)
        nn.init.normal_(self.conv.weight, 0.0, math.sqrt(1.0 / channels))
        nn.init.zeros_(self.conv.bias)
        self.norm = nn.BatchNorm1d(channels * num_joints)
        same = in_channels == channels
        self.skip = nn.Identity() if same else ProjectionSkip(in_channels, channels)
        ahead = shifted_joints(in_channels, num_joints)
        back = shifted_joints(channels, num_joints, back=True)
        self.register_buffer("ahead", ahead, persistent=False)
        self.register_buffer("back", back, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T) of maps (N*M, C, V, T)."""
        shifted = x.flatten(1, 2)[:, self.ahead].view_as(x) * (1 + torch.tanh(self.mask))
        y = self.conv(shifted)
        y = self.norm(y.flatten(1, 2)[:, self.back]).view_as(y)
        return F.relu(y + self.skip(x))


class TemporalShift(nn.Module):
    """Each channel looks a learnt, fractional number of frames ahead (adaptive shift, Sec. 4.2).

    Between two frames it interpolates; frames beyond the clip are zero.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.shift = nn.Parameter(torch.empty(channels).uniform_(-1, 1))  # frames

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, V, T') of maps (N, C, V, T)."""
        frames = x.shape[-1]
        first = torch.arange(0, frames, self.stride, device=x.device)
        before = self.shift.detach().floor().clamp(-frames - 1, frames)
        part = (self.shift - before)[:, None, None].to(x.dtype)  # (C, 1, 1), its gradient is 1
        near = first + before.long()[:, None]  # (C, T')
        x = F.pad(x, (0, 1))  # a last frame of zeros stands for all beyond the clip
        return torch.lerp(_frames(x, near), _frames(x, near + 1), part)


def _frames(x: Tensor, at: Tensor) -> Tensor:
    """Frames at (C, T') of maps (N, C, V, T + 1), a choice a channel; the last one outside."""
    end = x.shape[-1] - 1
    index = torch.where((at >= 0) & (at < end), at, end)
    return x.gather(3, index[:, None, :].expand(*x.shape[:3], -1))


class ShiftTCN(nn.Sequential):
    """Norm, shift, 1x1 convolution, ReLU, shift with stride, norm."""

    def __init__(self, channels: int, stride: int) -> None:
        conv = PointwiseConv(channels, channels)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        nn.init.zeros_(conv.bias)
        super().__init__(
            nn.BatchNorm2d(channels),
            TemporalShift(channels),
            conv,
            nn.ReLU(),
            TemporalShift(channels, stride),
            nn.BatchNorm2d(channels),
        )


class ShiftGCN(TenBlocks):
    """Ten blocks of shift-convolve-shift, between joints and between frames."""

    def __init__(self, skeleton: Skeleton, **sizes: int) -> None:
        joints = skeleton.num_joints

        def units(i: int, o: int, stride: int, _: bool) -> tuple[nn.Module, nn.Module]:
            return ShiftGraphUnit(i, o, joints), ShiftTCN(o, stride)

        super().__init__(skeleton, units, **sizes)


@register_backbone
def shiftgcn(skeleton: Skeleton, **overrides: object) -> ShiftGCN:
    """Shift-GCN as published: 64 to 256 channels."""
    return ShiftGCN(skeleton, **overrides)


@register_backbone
def shiftgcn_tiny(skeleton: Skeleton, **overrides: object) -> ShiftGCN:
    """A quarter of the published width, for tests, demos and first looks."""
    return ShiftGCN(skeleton, **{"width": 16, **overrides})
