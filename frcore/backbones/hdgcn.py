"""HD-GCN (Lee et al., "Hierarchically Decomposed Graph Convolutional Networks", ICCV 2023).

The body is cut into levels by distance from a centre; each pair of neighbouring levels is a graph
of its own, joined completely, and an attention weighs these graphs (A-HA).
"""

from operator import index

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.backbones.base import register_backbone
from frcore.backbones.frame import GraphUnit, TenBlocks
from frcore.backbones.layers import MultiScaleTCN, PointwiseConv, average, kaiming_conv_
from frcore.errors import UserError
from frcore.skeleton import NTU25, Skeleton

SUBSETS = 3  # a level pair's joints themselves, inner to outer, outer to inner
JOINT_NEIGHBOURS, LEVEL_NEIGHBOURS = 5, 3  # in feature space, the node itself among them

# NTU's levels as published (joints from 1): fingers do not make levels of their own.
_NTU_LEVELS = {
    1: "1 | 2 13 17 | 14 18 21 | 3 5 9 15 19 | 4 6 10 16 20 | 7 11 | 8 12 22 23 24 25",
    2: "2 | 1 21 | 13 17 3 5 9 | 14 18 4 6 10 | 15 19 7 11 | 16 20 8 12 | 22 23 24 25",
    21: "21 | 2 3 5 9 | 4 6 10 1 | 7 11 13 17 | 8 12 14 18 | 22 23 24 25 15 19 | 16 20",
}


def levels_of(skeleton: Skeleton, center: int | None = None) -> list[list[int]]:
    """Joints (from 0) by level, the centre first.

    Args:
        skeleton: levels are bones away from the centre; those of NTU's body as published.
        center: a joint, counted from 1 as in the paper; by default the skeleton's root (21 of NTU,
            3 of NW-UCLA: between the shoulders).

    Raises:
        UserError: there is no such joint.
    """
    center = skeleton.root + 1 if center is None else center
    try:
        number = index(center)
    except TypeError:
        number = 0
    if not 1 <= number <= skeleton.num_joints:
        raise UserError(
            f"center must be a joint of '{skeleton.name}', 1 to {skeleton.num_joints} "
            f"(counted from 1, as in the paper), not {center!r}."
        )
    if skeleton == NTU25 and number in _NTU_LEVELS:
        levels = _NTU_LEVELS[number].split("|")
        return [[int(joint) - 1 for joint in level.split()] for level in levels]
    hops = skeleton.hop_distance[number - 1]
    return [(hops == far).nonzero()[0].tolist() for far in range(hops.max() + 1)]


def level_graphs(levels: list[list[int]]) -> Tensor:
    """(L, 3, V, V) for each pair of neighbouring levels: itself, outward, inward; [to, from].

    Outward and inward edges join the two levels completely; each column sums to 1.
    """
    joints = sum(len(level) for level in levels)
    graphs = torch.zeros(max(len(levels) - 1, 1), SUBSETS, joints, joints)
    for graph, inner, outer in zip(graphs, levels, levels[1:] or levels, strict=False):
        both = sorted({*inner, *outer})
        graph[0, both, both] = 1
        graph[1][torch.tensor(outer)[:, None], torch.tensor(inner)] = 1 / len(outer)
        graph[2][torch.tensor(inner)[:, None], torch.tensor(outer)] = 1 / len(inner)
    return graphs


class EdgeConv(nn.Module):
    """Each node against its nearest ones in feature space (Wang et al., 2019); G sets of weights.

    max over neighbours j of leaky_relu(norm(W [x_j - x_i, x_i])).
    """

    def __init__(self, channels: int, neighbours: int, groups: int = 1) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.weight = nn.Parameter(torch.empty(groups, channels, 2 * channels))
        self.norm = nn.BatchNorm2d(groups * channels)
        nn.init.normal_(self.weight, 0.0, (2.0 / channels) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Nodes (N, G, C, V) of the same shape."""
        to_other, own = self.weight.chunk(2, dim=2)  # W [x_j - x_i, x_i] = a_j + b_i
        a = torch.einsum("goc,ngcv->ngov", to_other, x)
        b = torch.einsum("goc,ngcv->ngov", own - to_other, x)
        near = _nearest(x, self.neighbours)  # (N, G, V, k)
        shape = (*a.shape, near.shape[-1])
        edges = a.unsqueeze(-2).expand(*a.shape, a.shape[-1])
        edges = edges.gather(-1, near.unsqueeze(2).expand(shape)) + b.unsqueeze(-1)
        edges = self.norm(edges.flatten(1, 2))  # (N, G*C, V, k)
        return F.leaky_relu(edges, 0.2).amax(-1).unflatten(1, x.shape[1:3])


def _nearest(x: Tensor, count: int) -> Tensor:
    """(..., V, k) the nearest nodes of nodes (..., C, V), by Euclidean distance."""
    with torch.no_grad():
        square = (x * x).sum(-2)
        distance = square.unsqueeze(-1) + square.unsqueeze(-2) - 2 * (x.mT @ x)
        return distance.topk(min(count, x.shape[-1]), dim=-1, largest=False).indices


class LevelAttention(nn.Module):
    """A-HA: a gate for each graph and channel, from the joints that the graph joins (Sec. 3.3)."""

    def __init__(self, channels: int, levels: list[list[int]]) -> None:
        super().__init__()
        quarter = channels // 4
        pairs = [{*a, *b} for a, b in zip(levels, levels[1:] or levels, strict=False)]
        share = torch.zeros(len(pairs), sum(map(len, levels)))
        for row, joints in zip(share, pairs, strict=True):
            row[sorted(joints)] = 1 / len(joints)
        self.register_buffer("share", share, persistent=False)  # (L, V)
        self.squeeze = PointwiseConv(channels, quarter)
        self.norm = nn.BatchNorm2d(quarter)
        self.edges = EdgeConv(quarter, LEVEL_NEIGHBOURS)
        self.excite = nn.Conv1d(quarter, channels, 1)
        kaiming_conv_(self.squeeze)
        kaiming_conv_(self.excite)

    def forward(self, peaks: Tensor) -> Tensor:
        """The gates (N*M, L, C) of maps' peaks over time (N*M, L, C, V), one a graph."""
        y = F.relu(self.norm(self.squeeze(peaks.transpose(1, 2))))  # (N*M, C/4, L, V)
        y = torch.einsum("nclv,lv->ncl", y, self.share.to(y.dtype))
        return torch.sigmoid(self.excite(self.edges(y.unsqueeze(1)).squeeze(1))).mT


class HierarchicalGraphConv(nn.Module):
    """Graph convolution over L graphs: three subsets and the nearest joints, a quarter each."""

    def __init__(
        self, in_channels: int, channels: int, levels: list[list[int]], attention: bool
    ) -> None:
        super().__init__()
        graphs = level_graphs(levels)
        self.graphs, quarter = len(graphs), channels // 4
        self.adjacency = nn.Parameter(graphs)  # (L, 3, V, V), learnt
        self.down = PointwiseConv(in_channels, self.graphs * quarter)
        self.down_norm = nn.BatchNorm2d(self.graphs * quarter)
        width = self.graphs * SUBSETS * quarter
        self.subsets = nn.Conv2d(width, width, 1, groups=self.graphs * SUBSETS)
        self.norm = nn.BatchNorm2d(width)
        self.edges = EdgeConv(quarter, JOINT_NEIGHBOURS, groups=self.graphs)
        self.attention = LevelAttention(channels, levels) if attention else None
        kaiming_conv_(self.down, fan_out=quarter)
        kaiming_conv_(self.subsets, fan_out=quarter)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T) of maps (N*M, C, V, T)."""
        x = F.relu(self.down_norm(self.down(x))).unflatten(1, (self.graphs, -1))
        y = torch.einsum("ljvu,nlcut->nljcvt", self.adjacency, x)
        y = self.norm(self.subsets(y.flatten(1, 3))).unflatten(1, (self.graphs, -1))
        edges = self.edges(average(x, -1)).to(y.dtype)  # (N*M, L, C'/4, V), the same in all frames
        if self.attention is not None:
            gates = self.attention(torch.cat([y.amax(-1), edges], dim=2)).to(y.dtype)
            ours, theirs = gates.split([y.shape[2], edges.shape[2]], dim=2)
            y, edges = y * ours[..., None, None], edges * theirs[..., None]
        edges = edges.sum(1).unsqueeze(-1).expand(*x.shape[:1], -1, *x.shape[3:])
        return torch.cat([y.sum(1), edges], dim=1)


class HDGCN(TenBlocks):
    """Ten blocks of hierarchical graph convolution and multi-scale temporal convolution.

    Args:
        skeleton: whose levels make the graphs.
        center: joint at the centre of the levels, counted from 1 as in the paper: 1, 2 or 21 of
            NTU, 1, 2 or 3 of NW-UCLA; by default the skeleton's root.
        **sizes: as `TenBlocks`.
    """

    def __init__(self, skeleton: Skeleton, *, center: int | None = None, **sizes: int) -> None:
        levels = levels_of(skeleton, center)

        def units(i: int, o: int, stride: int, first: bool) -> tuple[nn.Module, nn.Module]:
            conv = HierarchicalGraphConv(i, o, levels, attention=not first)
            return GraphUnit(conv, i, o), MultiScaleTCN(o, stride)

        super().__init__(skeleton, units, **sizes)


@register_backbone
def hdgcn(skeleton: Skeleton, **overrides: object) -> HDGCN:
    """HD-GCN as published: 64 to 256 channels."""
    return HDGCN(skeleton, **overrides)


@register_backbone
def hdgcn_tiny(skeleton: Skeleton, **overrides: object) -> HDGCN:
    """A quarter of the published width, for tests, demos and first looks."""
    return HDGCN(skeleton, **{"width": 16, **overrides})
