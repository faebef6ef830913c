"""CTR-GCN (Chen et al., "Channel-wise Topology Refinement Graph Convolution", ICCV 2021).

Each block refines a learnt graph by clip and by channel, then looks along time at several scales.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.backbones.base import Backbone, register_backbone
from frcore.backbones.layers import (
    InputNorm,
    MultiScaleTCN,
    ProjectionSkip,
    kaiming_conv_,
    ten_block_plan,
)
from frcore.skeleton import Skeleton


class RefinedGraphConv(nn.Module):
    """Graph convolution whose topology is refined a channel (CTR-GC, the paper's Eq. 1-4), over S subsets.

    For subset k: out[c, t, u] = sum_v (alpha * R_k[c, u, v] + A_k[u, v]) * value_k[c, t, v], with
    R_k = expand_k(tanh(p_k[u] - s_k[v])) and p, s from the mean over time. Means and 1x1 convolutions
    commute, so the mean is taken once; the subsets' weights lie in one convolution each.
    """

    def __init__(self, in_channels: int, channels: int, adjacency: Tensor) -> None:
        super().__init__()
        subsets = adjacency.shape[0]
        reduced = 8 if in_channels <= 9 else max(in_channels // 8, 1)
        self.subsets, self.channels = subsets, channels
        self.adjacency = nn.Parameter(adjacency.clone())  # (S, V, V), learnt
        self.alpha = nn.Parameter(torch.zeros(1))  # the refinement fades in
        self.pair = nn.Conv1d(in_channels, 2 * subsets * reduced, 1)  # p and s of every subset
        self.expand = nn.Conv2d(subsets * reduced, subsets * channels, 1, groups=subsets)
        self.value = nn.Conv2d(in_channels, subsets * channels, 1)
        kaiming_conv_(self.pair, fan_out=reduced)
        kaiming_conv_(self.expand, fan_out=channels)
        kaiming_conv_(self.value, fan_out=channels)

    def topology(self, x: Tensor) -> Tensor:
        """The refined graphs (N*M, S, C', V, V) of maps (N*M, C, T, V)."""
        target, source = self.pair(x.mean(dim=2)).chunk(2, dim=1)  # (N*M, S*r, V) each
        distance = torch.tanh(target.unsqueeze(-1) - source.unsqueeze(-2))  # (N*M, S*r, V, V)
        refined = self.expand(distance).unflatten(1, (self.subsets, self.channels))
        return self.alpha * refined + self.adjacency.unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        value = self.value(x).unflatten(1, (self.subsets, self.channels))  # (N*M, S, C', T, V)
        return (value @ self.topology(x).transpose(-1, -2)).sum(dim=1)  # (N*M, C', T, V)


class GraphUnit(nn.Module):
    """Refined graph convolution, batch norm and skip; the norm starts near zero, so the skip leads."""

    def __init__(self, in_channels: int, channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.conv = RefinedGraphConv(in_channels, channels, adjacency)
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
        in_channels: int,
        channels: int,
        stride: int,
        adjacency: Tensor,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.graph = GraphUnit(in_channels, channels, adjacency)
        self.temporal = MultiScaleTCN(channels, stride)
        if not residual:
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


class CTRGCN(Backbone):
    """Ten blocks of refined graph convolution and multi-scale temporal convolution."""

    def __init__(
        self,
        skeleton: Skeleton,
        *,
        num_persons: int,
        num_frames: int,
        in_channels: int = 3,
        width: int = 64,
    ) -> None:
        super().__init__(
            skeleton, num_persons=num_persons, num_frames=num_frames, in_channels=in_channels
        )
        plan, self.stage_info = ten_block_plan(width, in_channels, num_frames, skeleton.num_joints)
        adjacency = torch.from_numpy(skeleton.adjacency())
        self.input_norm = InputNorm(in_channels, skeleton.num_joints, num_persons)
        self.blocks = nn.ModuleList(
            Block(*shape, adjacency, residual=i > 0) for i, shape in enumerate(plan)
        )

    def forward_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.input_norm(x)  # (N*M, C, T, V)
        stages = []
        for block in self.blocks:
            x = block(x)
            stages.append(x)
        return tuple(stages)


@register_backbone
def ctrgcn(skeleton: Skeleton, **overrides: object) -> CTRGCN:
    """CTR-GCN as published: 64 to 256 channels."""
    return CTRGCN(skeleton, **overrides)


@register_backbone
def ctrgcn_tiny(skeleton: Skeleton, **overrides: object) -> CTRGCN:
    """A quarter of the published width, for tests, demos and first looks."""
    return CTRGCN(skeleton, **{"width": 16, **overrides})
