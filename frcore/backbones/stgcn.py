"""The "ST-GCN" of the FR Head paper: CTR-GCN's baseline network, not the one of AAAI 2018.

Ten blocks with three learnt graphs each, which start as identity. `stgcn_2018` is the original.
"""

import torch
from torch import Tensor, nn

from frcore.backbones.base import register_backbone
from frcore.backbones.frame import GraphUnit, TenBlocks
from frcore.backbones.layers import SubsetConv, TemporalConv
from frcore.skeleton import Skeleton

SUBSETS = 3


class LearntGraphConv(nn.Module):
    """Graph convolution over learnt graphs, each column scaled to length 1.

    out[w] = sum over k, v of conv_k(x[v]) * A_k[v, w] / (|A_k[:, w]| + 1e-4).
    """

    def __init__(self, in_channels: int, channels: int, num_joints: int) -> None:
        super().__init__()
        self.adjacency = nn.Parameter(torch.eye(num_joints).repeat(SUBSETS, 1, 1))  # (S, V, V)
        self.conv = SubsetConv(in_channels, channels, SUBSETS)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T) of maps (N*M, C, V, T)."""
        length = self.adjacency.norm(dim=1, keepdim=True)
        graph = self.adjacency / (length + 1e-4)
        return self.conv(torch.einsum("kvw,ncvt->nckwt", graph, x))


class STGCN(TenBlocks):
    """Ten blocks of learnt graphs and one temporal convolution of 5 frames."""

    def __init__(self, skeleton: Skeleton, **sizes: int) -> None:
        joints = skeleton.num_joints

        def units(i: int, o: int, stride: int, _: bool) -> tuple[nn.Module, nn.Module]:
            return GraphUnit(LearntGraphConv(i, o, joints), i, o), TemporalConv(o, 5, stride)

        super().__init__(skeleton, units, **sizes)


@register_backbone
def stgcn(skeleton: Skeleton, **overrides: object) -> STGCN:
    """The paper's ST-GCN: 64 to 256 channels."""
    return STGCN(skeleton, **overrides)


@register_backbone
def stgcn_tiny(skeleton: Skeleton, **overrides: object) -> STGCN:
    """A quarter of the width, for tests, demos and first looks."""
    return STGCN(skeleton, **{"width": 16, **overrides})
