"""TCA-GCN (Wang et al., "Skeleton-based Action Recognition via Temporal-Channel Aggregation").

CTR-GCN whose values are weighted frame by frame, and whose temporal unit is gated. The published
code's 656,064 weights that are never used are left out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.backbones.base import register_backbone
from frcore.backbones.ctrgcn import RefinedTopology
from frcore.backbones.frame import GraphUnit, TenBlocks, skeleton_graph
from frcore.backbones.layers import MultiScaleTCN, PointwiseConv, average, kaiming_conv_
from frcore.skeleton import Skeleton


class TemporalWeights(nn.Module):
    """A weight a channel and frame for each of S subsets, from the clip's course over time."""

    def __init__(self, in_channels: int, channels: int, subsets: int) -> None:
        super().__init__()
        half = max(in_channels // 2, 1)
        self.subsets = subsets
        self.context = nn.Conv1d(in_channels, subsets * in_channels, 1)
        self.enter = nn.Conv1d(subsets * in_channels, subsets * half, 3, padding=1, groups=subsets)
        self.norm = nn.BatchNorm1d(subsets * half)
        self.leave = nn.Conv1d(
            subsets * half, subsets * channels, 3, padding=1, groups=subsets, bias=False
        )
        kaiming_conv_(self.context, fan_out=in_channels)
        kaiming_conv_(self.enter, fan_out=3 * half)
        kaiming_conv_(self.leave, fan_out=3 * channels)

    def forward(self, x: Tensor) -> Tensor:
        """Weights (N*M, C', S, T) of maps (N*M, C, V, T)."""
        course = average(x, 2)  # (N*M, C, T)
        context = self.context(course.mean(2, keepdim=True))  # (N*M, S*C, 1)
        y = course.repeat(1, self.subsets, 1) + context
        y = self.leave(F.relu(self.norm(self.enter(y)))) + 1
        return y.unflatten(1, (self.subsets, -1)).transpose(1, 2)


class AggregatedGraphConv(RefinedTopology):
    """out[c, u, t] = sum over k, v of topology_k[c, u, v] * weight_k[c, t] * value_k[c, v, t]."""

    def __init__(self, in_channels: int, channels: int, adjacency: Tensor) -> None:
        super().__init__(in_channels, channels, adjacency)
        self.value = nn.Conv2d(in_channels, self.subsets * channels, 1, bias=False)
        self.weights = TemporalWeights(in_channels, channels, self.subsets)
        self.start()

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T) of maps (N*M, C, V, T)."""
        return self.aggregate(x, self.value, gain=self.weights(x))


class FusionGate(nn.Module):
    """Attentional feature fusion with nothing to fuse: 2 * x * sigmoid(local(x) + overall(x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.local, self.overall = _bottleneck(channels), _bottleneck(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C, V, T) of the same shape."""
        overall = self.overall(average(x, 2, 3, keepdim=True))
        return (x * torch.sigmoid(self.local(x) + overall)).mul_(2)  # keeps no 2 * x


def _bottleneck(channels: int) -> nn.Sequential:
    """Two 1x1 convolutions, each with its norm."""
    return nn.Sequential(
        PointwiseConv(channels, channels),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        PointwiseConv(channels, channels),
        nn.BatchNorm2d(channels),
    )


class TCAGCN(TenBlocks):
    """Ten blocks of temporally weighted, refined graph convolution and gated temporal unit.

    In training a batch needs two people or more: the gates' norms see one value each.
    """

    def __init__(self, skeleton: Skeleton, **sizes: int) -> None:
        adjacency = skeleton_graph(skeleton)

        def units(i: int, o: int, stride: int, _: bool) -> tuple[nn.Module, nn.Module]:
            graph = GraphUnit(AggregatedGraphConv(i, o, adjacency), i, o)
            return graph, nn.Sequential(MultiScaleTCN(o, stride), FusionGate(o))

        super().__init__(skeleton, units, **sizes)


@register_backbone
def tcagcn(skeleton: Skeleton, **overrides: object) -> TCAGCN:
    """TCA-GCN as published: 64 to 256 channels."""
    return TCAGCN(skeleton, **overrides)


@register_backbone
def tcagcn_tiny(skeleton: Skeleton, **overrides: object) -> TCAGCN:
    """A quarter of the published width, for tests, demos and first looks."""
    return TCAGCN(skeleton, **{"width": 16, **overrides})
