"""CTR-GCN (Chen et al., "Channel-wise Topology Refinement Graph Convolution", ICCV 2021).

Each block refines a learnt graph by clip and by channel, then looks along time at several scales.
"""

import torch
from torch import Tensor, nn

from frcore.backbones.base import register_backbone
from frcore.backbones.frame import GraphUnit, TenBlocks, skeleton_graph
from frcore.backbones.layers import MultiScaleTCN, average, kaiming_conv_
from frcore.backbones.refined import RefinedAggregate
from frcore.skeleton import Skeleton


class RefinedTopology(nn.Module):
    """A learnt graph, refined by clip and channel (CTR-GC, Eq. 1-3), for each of S subsets.

    R_k = expand_k(tanh(p_k[u] - s_k[v])) with p, s from the mean over time. Means and 1x1
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

    def start(self) -> None:
        """Draws the weights; a subclass calls it when its own layers are there."""
        kaiming_conv_(self.pair, fan_out=self.pair.out_channels // (2 * self.subsets))
        kaiming_conv_(self.expand, fan_out=self.channels)

    def _distance(self, x: Tensor) -> Tensor:
        """tanh(p[u] - s[v]) as (S, N*M, r, V, V), indexed [v, u]."""
        pair = self.pair(average(x, 3)).unflatten(1, (2, self.subsets, -1))  # (N*M, 2, S, r, V)
        target, source = pair.permute(1, 2, 0, 3, 4)
        return torch.tanh(target.unsqueeze(-2) - source.unsqueeze(-1))

    def topology(self, x: Tensor) -> Tensor:
        """The refined graphs (N*M, S, C', V, V), indexed [u, v], of maps (N*M, C, V, T)."""
        weight = self.expand.weight.view(self.subsets, self.channels, -1)
        bias = self.expand.bias.view(self.subsets, 1, self.channels, 1, 1)
        refined = torch.einsum("scr,snrvu->sncuv", weight, self._distance(x)) + bias
        return (self.alpha * refined + self.adjacency[:, None, None]).transpose(0, 1)

    def aggregate(self, x: Tensor, value: nn.Conv2d, gain: Tensor | None = None) -> Tensor:
        """The values of every subset summed over its graph: maps (N*M, C', V, T).

        Args:
            x: maps (N*M, C, V, T).
            value: 1x1 convolution to the values of all subsets, S * C' channels.
            gain: (N*M, C', S, T) weighs the values.
        """
        distance = self._distance(x)
        s, n, _, v, _ = distance.shape
        ones = distance.new_ones(()).expand(s, n, 1, v, v)
        graph = self.adjacency.mT.to(distance.dtype)[:, None, None].expand(s, n, 1, v, v)
        source = torch.cat([distance, ones, graph], dim=2)  # (S, N*M, r + 2, V, V)

        # alpha * (expand(distance) + bias) + A as one product: scales the small weights only.
        expand = self.alpha * self.expand.weight.view(s, self.channels, -1)
        bias = self.alpha * self.expand.bias.view(s, self.channels, 1)
        weight = torch.cat([expand, bias, torch.ones_like(bias)], dim=2)
        value_weight = value.weight.view(s, self.channels, -1).transpose(0, 1)
        value_bias = weight.new_zeros(()) if value.bias is None else value.bias
        value_bias = value_bias.expand(s * self.channels).view(s, self.channels).mT
        operands = (x, source, weight, value_weight, value_bias, gain)
        dtype = source.dtype  # bfloat16 under autocast
        return RefinedAggregate.apply(*(t if t is None else t.to(dtype) for t in operands))


class RefinedGraphConv(RefinedTopology):
    """Graph convolution with a topology refined by channel (CTR-GC, Eq. 4).

    out[c, u, t] = sum over k, v of (alpha * R_k[c, u, v] + A_k[u, v]) * value_k[c, v, t].
    """

    def __init__(self, in_channels: int, channels: int, adjacency: Tensor) -> None:
        super().__init__(in_channels, channels, adjacency)
        self.value = nn.Conv2d(in_channels, self.subsets * channels, 1)
        self.start()
        kaiming_conv_(self.value, fan_out=channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T) of maps (N*M, C, V, T)."""
        return self.aggregate(x, self.value)


class CTRGCN(TenBlocks):
    """Ten blocks of refined graph convolution and multi-scale temporal convolution.

    Args:
        skeleton: its graph is where the learnt ones start.
        temporal_relu: a ReLU after the four temporal branches, before the residual, as pyskl's
            CTR-GCN has it and the published one has not.
        **sizes: as `TenBlocks`.
    """

    def __init__(self, skeleton: Skeleton, *, temporal_relu: bool = False, **sizes: int) -> None:
        adjacency = skeleton_graph(skeleton)

        def units(i: int, o: int, stride: int, _: bool) -> tuple[nn.Module, nn.Module]:
            graph = GraphUnit(RefinedGraphConv(i, o, adjacency), i, o)
            return graph, MultiScaleTCN(o, stride, relu=temporal_relu)

        super().__init__(skeleton, units, **sizes)


@register_backbone
def ctrgcn(skeleton: Skeleton, **overrides: object) -> CTRGCN:
    """CTR-GCN as published: 64 to 256 channels."""
    return CTRGCN(skeleton, **overrides)


@register_backbone
def ctrgcn_tiny(skeleton: Skeleton, **overrides: object) -> CTRGCN:
    """A quarter of the published width, for tests, demos and first looks."""
    return CTRGCN(skeleton, **{"width": 16, **overrides})
