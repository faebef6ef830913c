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
from frcore.backbones.refined import RefinedAggregate
from frcore.skeleton import Skeleton


class RefinedGraphConv(nn.Module):
    """Graph convolution with a topology refined by channel (CTR-GC, Eq. 1-4), over S subsets.

    For subset k: out[c, u, t] = sum_v (alpha * R_k[c, u, v] + A_k[u, v]) * value_k[c, v, t], with
    R_k = expand_k(tanh(p_k[u] - s_k[v])) and p, s from the mean over time. Means and 1x1
    convolutions commute, so the mean is taken once. Maps are (N*M, C, V, T): frames lie together.
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

    def _distance(self, x: Tensor) -> Tensor:
        """tanh(p[u] - s[v]) as (S, N*M, r, V, V), indexed [v, u]."""
        pair = self.pair(x.mean(dim=3)).unflatten(1, (2, self.subsets, -1))  # (N*M, 2, S, r, V)
        target, source = pair.permute(1, 2, 0, 3, 4)
        return torch.tanh(target.unsqueeze(-2) - source.unsqueeze(-1))

    def topology(self, x: Tensor) -> Tensor:
        """The refined graphs (N*M, S, C', V, V), indexed [u, v], of maps (N*M, C, V, T)."""
        weight = self.expand.weight.view(self.subsets, self.channels, -1)
        bias = self.expand.bias.view(self.subsets, 1, self.channels, 1, 1)
        refined = torch.einsum("scr,snrvu->sncuv", weight, self._distance(x)) + bias
        return (self.alpha * refined + self.adjacency[:, None, None]).transpose(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T) of maps (N*M, C, V, T)."""
        distance = self._distance(x)
        s, n, _, v, _ = distance.shape
        ones = distance.new_ones(()).expand(s, n, 1, v, v)
        graph = self.adjacency.mT.to(distance.dtype)[:, None, None].expand(s, n, 1, v, v)
        source = torch.cat([distance, ones, graph], dim=2)  # (S, N*M, r + 2, V, V)

        # alpha * (expand(distance) + bias) + A as one product: scales the small weights only.
        expand = self.alpha * self.expand.weight.view(s, self.channels, -1)
        bias = self.alpha * self.expand.bias.view(s, self.channels, 1)
        weight = torch.cat([expand, bias, torch.ones_like(bias)], dim=2)
        value_weight = self.value.weight.view(s, self.channels, -1)
        value_bias = self.value.bias.view(s, self.channels)
        dtype = source.dtype  # bfloat16 under autocast
        operands = (t.to(dtype) for t in (x, source, weight, value_weight, value_bias))
        return RefinedAggregate.apply(*operands)


class GraphUnit(nn.Module):
    """Refined graph convolution, norm and skip; the norm starts near zero, so the skip leads."""

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
        x = self.input_norm(x)  # (N*M, C, V, T)
        stages = []
        for block in self.blocks:
            x = block(x)
            stages.append(x.mT)
        return tuple(stages)  # (N*M, C', T', V) each


@register_backbone
def ctrgcn(skeleton: Skeleton, **overrides: object) -> CTRGCN:
    """CTR-GCN as published: 64 to 256 channels."""
    return CTRGCN(skeleton, **overrides)


@register_backbone
def ctrgcn_tiny(skeleton: Skeleton, **overrides: object) -> CTRGCN:
    """A quarter of the published width, for tests, demos and first looks."""
    return CTRGCN(skeleton, **{"width": 16, **overrides})
