"""Layers that backbone families share: input norm, 1x1 convolutions, temporal units, skips."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def kaiming_conv_(conv: nn.Module, fan_out: int | None = None) -> nn.Module:
    """Kaiming normal over the fan-out, zero bias.

    `fan_out` counts one part where several parts' weights are stored in one convolution: merged
    storage must not change how a part is initialised.
    """
    weight = conv.weight
    fan_out = fan_out or weight.shape[0] * math.prod(weight.shape[2:])
    nn.init.normal_(weight, 0.0, math.sqrt(2.0 / fan_out))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def average(
    x: Tensor, *axes: int, keepdim: bool = False, dtype: torch.dtype | None = None
) -> Tensor:
    """The mean over axes; its gradient is a view, where that of `Tensor.mean` is a whole map."""
    return x.sum(axes, keepdim, dtype=dtype) / math.prod(x.shape[axis] for axis in axes)


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution of maps (N, C, V, T), with a stride along time.

    On a CPU as a batched matrix product, which was measured at twice the rate of the convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, channels, 1, stride=(1, stride))

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        return pointwise(x[..., :: self.stride[1]], self.weight.flatten(1), self.bias)


class SubsetConv(nn.Module):
    """The sum over S graphs of a 1x1 convolution each: (N, C, S, V, T) to (N, C', V, T)."""

    def __init__(self, in_channels: int, channels: int, subsets: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, in_channels, subsets))
        self.bias = nn.Parameter(torch.zeros(subsets, channels))
        nn.init.normal_(self.weight, 0.0, math.sqrt(2.0 / (channels * in_channels * subsets)))

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x.flatten(1, 2), self.weight.flatten(1), self.bias.sum(0))


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Maps (N, C', V, T) of maps (N, C, V, T) by a weight (C', C), as `PointwiseConv`."""
    if x.device.type != "cpu":
        return F.conv2d(x, weight[..., None, None], bias)
    # shape[0]: len() would fix it in an exported graph
    weight, maps = weight.expand(x.shape[0], *weight.shape), x.flatten(2)
    y = weight @ maps if bias is None else torch.baddbmm(bias[:, None], weight, maps)
    return y.unflatten(2, x.shape[2:])


class InputNorm(nn.Module):
    """Batch norm over every (person, joint, channel) of the input, then persons into the batch."""

    def __init__(self, in_channels: int, num_joints: int, num_persons: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(num_persons * num_joints * in_channels)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, v, m = x.shape
        x = x.permute(0, 4, 3, 1, 2).reshape(n, m * v * c, t)  # channel index m*V*C + v*C + c
        x = self.norm(x).view(n * m, v, c, t)
        return x.transpose(1, 2).contiguous()  # (N*M, C, V, T)


class ProjectionSkip(nn.Sequential):
    """1x1 convolution and batch norm: a skip path where width or frames change."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        conv = PointwiseConv(in_channels, channels, stride)
        super().__init__(kaiming_conv_(conv), nn.BatchNorm2d(channels))


class TemporalConv(nn.Sequential):
    """One convolution along time and batch norm: maps (N, C, V, T) to (N, C, V, T')."""

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        conv = nn.Conv2d(
            channels, channels, (1, kernel), stride=(1, stride), padding=(0, (kernel - 1) // 2)
        )
        super().__init__(kaiming_conv_(conv), nn.BatchNorm2d(channels))


class MultiScaleTCN(nn.Module):
    """Temporal branches of equal width: dilated convolutions, a pool and a skip.

    CTR-GCN's temporal unit (Chen et al., ICCV 2021) has two dilations, MS-G3D's four. The entry
    convolutions of all branches but the skip read the same input, and all closing batch norms work
    channel by channel: each group is stored and run as one.

    Args:
        channels: out, a multiple of the number of branches.
        stride: along time.
        kernel: frames of the dilated convolutions.
        in_channels: in, where they are not as many.
        dilations: a branch each, beside pool and skip.
        relu: a ReLU after the branches.
    """

    def __init__(
        self,
        channels: int,
        stride: int = 1,
        kernel: int = 5,
        *,
        in_channels: int | None = None,
        dilations: tuple[int, ...] = (1, 2),
        relu: bool = False,
    ) -> None:
        super().__init__()
        in_channels = in_channels or channels
        branch, self.relu = channels // (len(dilations) + 2), relu
        self.entry = PointwiseConv(in_channels, (len(dilations) + 1) * branch)
        self.entry_norm = nn.BatchNorm2d((len(dilations) + 1) * branch)
        self.dilated = nn.ModuleList(
            nn.Conv2d(
                branch,
                branch,
                (1, kernel),
                stride=(1, stride),
                padding=(0, dilation * (kernel - 1) // 2),
                dilation=(1, dilation),
            )
            for dilation in dilations
        )
        self.skip = PointwiseConv(in_channels, branch, stride)
        self.norm = nn.BatchNorm2d(channels)
        self.stride = stride
        for conv in (self.entry, self.skip):
            kaiming_conv_(conv, fan_out=branch)
        for conv in self.dilated:
            kaiming_conv_(conv)
        for norm in (self.entry_norm, self.norm):
            nn.init.normal_(norm.weight, 1.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        entered = F.relu(self.entry_norm(self.entry(x)), inplace=True)
        *parts, pooled = entered.chunk(len(self.dilated) + 1, dim=1)
        branches = [conv(part) for conv, part in zip(self.dilated, parts, strict=True)]
        if pooled.device.type == "cpu":  # its pooling is four times as fast on interleaved channels
            pooled = pooled.contiguous(memory_format=torch.channels_last)
        branches.append(F.max_pool2d(pooled, (1, 3), stride=(1, self.stride), padding=(0, 1)))
        branches.append(self.skip(x))
        x = self.norm(torch.cat(branches, dim=1))  # (N*M, C, V, T')
        return F.relu(x, inplace=True) if self.relu else x
