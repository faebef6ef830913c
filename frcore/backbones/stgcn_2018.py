"""The original ST-GCN (Yan et al., "Spatial Temporal Graph Convolutional Networks", AAAI 2018).

The body's graph stays as it is; each block learns how important its edges are.
"""

import torch
from torch import Tensor, nn

from frcore.backbones.base import register_backbone
from frcore.backbones.frame import TenBlocks
from frcore.backbones.layers import InputNorm, PointwiseConv
from frcore.skeleton import Skeleton

KERNEL = 9  # frames


def spatial_partition(skeleton: Skeleton) -> Tensor:
    """(3, V, V) the joint itself, neighbours nearer to the root, and farther ones (Sec. 3.3).

    Of the graph with self loops whose columns sum to 1; [v, w] leads from joint v to joint w.
    """
    hops = torch.from_numpy(skeleton.hop_distance)
    graph = (hops <= 1).float()
    graph = graph / graph.sum(0)
    depth = hops[skeleton.root]
    step = depth[:, None] - depth[None, :]  # 1: v is farther from the root than w
    return torch.stack([graph * (step == 0), graph * (step > 0), graph * (step < 0)])


class WeightedGraphConv(nn.Module):
    """One 1x1 convolution for all subsets, then the graph times its learnt importance."""

    def __init__(self, in_channels: int, channels: int, graph: Tensor) -> None:
        super().__init__()
        self.register_buffer("graph", graph.clone())  # (S, V, V)
        self.importance = nn.Parameter(torch.ones_like(graph))
        self.conv = PointwiseConv(in_channels, len(graph) * channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T) of maps (N*M, C, V, T)."""
        parts = self.conv(x).unflatten(1, (len(self.graph), -1))  # (N*M, S, C', V, T)
        parts = parts.transpose(1, 2).flatten(2, 3)  # (N*M, C', S*V, T)
        graph = (self.graph * self.importance).flatten(0, 1)  # (S*V, V)
        return graph.t().to(parts.dtype) @ parts


class DropoutTCN(nn.Sequential):
    """Norm, ReLU, one convolution along time, norm, dropout."""

    def __init__(self, channels: int, stride: int, dropout: float) -> None:
        conv = nn.Conv2d(
            channels,
            channels,
            (1, KERNEL),
            stride=(1, stride),
            padding=(0, (KERNEL - 1) // 2),
        )
        norms = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        super().__init__(norms[0], nn.ReLU(), conv, norms[1], nn.Dropout(dropout))


class STGCN2018(TenBlocks):
    """Ten blocks; input norm over one person's joints, whoever it is.

    Args:
        skeleton: its root divides neighbours into nearer and farther ones.
        dropout: after each temporal convolution but the first block's.
        **sizes: as `TenBlocks`.
    """

    def __init__(self, skeleton: Skeleton, *, dropout: float = 0.5, **sizes: int) -> None:
        graph = spatial_partition(skeleton)

        def units(i: int, o: int, stride: int, first: bool) -> tuple[nn.Module, nn.Module]:
            temporal = DropoutTCN(o, stride, 0.0 if first else dropout)
            return WeightedGraphConv(i, o, graph), temporal

        super().__init__(skeleton, units, **sizes)
        self.input_norm = InputNorm(self.in_channels, skeleton.num_joints, num_persons=1)

    def forward_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        people = x.permute(0, 4, 1, 2, 3).flatten(0, 1)  # (N*M, C, T, V)
        return super().forward_stages(people.unsqueeze(-1))


@register_backbone
def stgcn_2018(skeleton: Skeleton, **overrides: object) -> STGCN2018:
    """ST-GCN as published: 64 to 256 channels."""
    return STGCN2018(skeleton, **overrides)


@register_backbone
def stgcn_2018_tiny(skeleton: Skeleton, **overrides: object) -> STGCN2018:
    """A quarter of the published width, for tests, demos and first looks."""
    return STGCN2018(skeleton, **{"width": 16, **overrides})
