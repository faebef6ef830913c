"""AAGCN (Shi et al., "Skeleton-Based Action Recognition with Multi-Stream Adaptive Graph
Convolutional Networks", TIP 2020), the paper's "2s-AGCN": graphs that adapt to each clip.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frcore.backbones.base import register_backbone
from frcore.backbones.frame import GraphUnit, TenBlocks, skeleton_graph
from frcore.backbones.layers import PointwiseConv, SubsetConv, TemporalConv, average, kaiming_conv_
from frcore.skeleton import Skeleton


class AdaptiveGraphConv(nn.Module):
    """Graph convolution over graphs that all clips share, plus alpha times each clip's own (Eq. 4).

    The own graph is tanh of the mean product of two embeddings of the joints, over channels and
    time; it is the same in all frames.
    """

    def __init__(self, in_channels: int, channels: int, adjacency: Tensor) -> None:
        super().__init__()
        self.subsets = subsets = adjacency.shape[0]
        quarter = channels // 4
        self.adjacency = nn.Parameter(adjacency.clone())  # (S, V, V), learnt
        self.alpha = nn.Parameter(torch.zeros(1))  # the clip's own graph fades in
        self.pair = PointwiseConv(in_channels, 2 * subsets * quarter)  # both embeddings
        self.conv = SubsetConv(in_channels, channels, subsets)
        kaiming_conv_(self.pair, fan_out=quarter)

    def graph(self, x: Tensor) -> Tensor:
        """The graphs (N*M, S, V, V), indexed [from, to], of maps (N*M, C, V, T)."""
        pair = self.pair(x).unflatten(1, (2, self.subsets, -1))  # (N*M, 2, S, q, V, T)
        first, second = pair.unbind(1)
        count = first.shape[2] * first.shape[-1]
        own = torch.einsum("nkcvt,nkcwt->nkvw", first, second / count)
        return self.adjacency + self.alpha * torch.tanh(own)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N*M, C', V, T) of maps (N*M, C, V, T)."""
        graph = self.graph(x)
        return self.conv(torch.einsum("nkvw,ncvt->nckwt", graph, x.to(graph.dtype)))


class Attention(nn.Module):
    """Which joints, frames and channels matter: three gates in a row, each y * gate + y (Sec. III).

    The gates of frames and channels start at one half.
    """

    def __init__(self, channels: int, num_joints: int) -> None:
        super().__init__()
        width = num_joints if num_joints % 2 else num_joints - 1
        self.joints = nn.Conv1d(channels, 1, width, padding=(width - 1) // 2)
        self.frames = nn.Conv1d(channels, 1, 9, padding=4)
        self.squeeze = nn.Linear(channels, channels // 2)
        self.excite = nn.Linear(channels // 2, channels)
        nn.init.xavier_normal_(self.joints.weight)
        nn.init.zeros_(self.joints.bias)
        nn.init.kaiming_normal_(self.squeeze.weight)
        for layer in (self.frames, self.excite):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, y: Tensor) -> Tensor:
        """Maps (N*M, C, V, T) of the same shape."""
        y = y * torch.sigmoid(self.joints(average(y, 3))).unsqueeze(3) + y  # gate (N*M, 1, V, 1)
        y = y * torch.sigmoid(self.frames(average(y, 2))).unsqueeze(2) + y  # gate (N*M, 1, 1, T)
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(average(y, 2, 3)))))
        return y * gate[:, :, None, None] + y


class AAGCN(TenBlocks):
    """Ten blocks of adaptive graph convolution, attention and one temporal convolution of 9 frames.

    Args:
        skeleton: its graph is where the learnt ones start.
        attention: with the three gates; False: the plain adaptive network.
        **sizes: as `TenBlocks`.
    """

    def __init__(self, skeleton: Skeleton, *, attention: bool = True, **sizes: int) -> None:
        adjacency, joints = skeleton_graph(skeleton), skeleton.num_joints

        def units(i: int, o: int, stride: int, _: bool) -> tuple[nn.Module, nn.Module]:
            graph: nn.Module = GraphUnit(AdaptiveGraphConv(i, o, adjacency), i, o)
            if attention:
                graph = nn.Sequential(graph, Attention(o, joints))
            return graph, TemporalConv(o, 9, stride)

        super().__init__(skeleton, units, **sizes)


@register_backbone
def aagcn(skeleton: Skeleton, **overrides: object) -> AAGCN:
    """AAGCN as published: 64 to 256 channels."""
    return AAGCN(skeleton, **overrides)


@register_backbone
def aagcn_tiny(skeleton: Skeleton, **overrides: object) -> AAGCN:
    """A quarter of the published width, for tests, demos and first looks."""
    return AAGCN(skeleton, **{"width": 16, **overrides})
