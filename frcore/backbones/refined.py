"""CTR-GCN's graph convolution, and TCA-GCN's, as one operation: stores little, copies nothing.

For subset k of S, with maps as (N, C, V, T) so that frames lie together:

    topology_k = weight_k @ source_k      (N, C', V, V); r + 2 rows: distance, ones, graph
    value_k    = value_weight_k @ x       (N, C', V, T), times gain_k (N, C', 1, T) if there is one
    out        = sum_k topology_k^T @ value_k   (N, C', V, T)

Subsets lie within a channel, so that the sum over k and v is one product of (V, S*V) by (S*V, T).
In deep blocks the topologies are larger than the features: the backward pass makes them again.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class RefinedAggregate(torch.autograd.Function):
    """out[n, c, u, t] = sum over k, v of topology_k[n, c, v, u] * value_k[n, c, v, t].

    Shapes: x (N, C, V, T); source (S, N, R, V, V), rows indexed [v, u]; weight (S, C', R);
    value_weight (C', S, C); value_bias (C', S); gain (N, C', S, T) or None. All of one dtype.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        source: Tensor,
        weight: Tensor,
        value_weight: Tensor,
        value_bias: Tensor,
        gain: Tensor | None = None,
    ) -> Tensor:
        n, _, v, t = x.shape
        rows, bias = value_weight.flatten(0, 1), value_bias.flatten()[:, None]
        value = torch.baddbmm(bias, _each(rows, n), x.flatten(2))
        value = value.view(-1, rows.shape[0] // weight.shape[1], v, t)  # (N*C', S, V, T)
        topology = _topology(source, weight)
        out = torch.bmm(topology.mT, _scaled(value, gain).flatten(1, 2))
        ctx.save_for_backward(x, source, weight, value_weight, gain, value)
        return out.view(n, -1, v, t)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, source, weight, value_weight, gain, value = ctx.saved_tensors
        n, _, v, t = x.shape
        grad = grad.reshape(-1, v, t)  # (N*C', V, T)
        topology = _topology(source, weight)
        grad_value = torch.bmm(topology, grad).view(value.shape)
        grad_topology = torch.bmm(_scaled(value, gain).flatten(1, 2), grad.mT, out=topology)
        grad_topology = grad_topology.view(n, -1, len(source), v * v)
        grad_source, grad_weight = torch.empty_like(source), torch.empty_like(weight)
        for k, rows in enumerate(source.flatten(3)):
            part = grad_topology[:, :, k]
            torch.bmm(_each(weight[k].mT, n), part, out=grad_source[k].flatten(2))
            grad_weight[k] = torch.bmm(part, rows.mT).sum(0)
        grad_gain = None
        if gain is not None:
            grad_gain = (grad_value * value).sum(2).view(gain.shape)
            grad_value = _scaled(grad_value, gain)
        grad_value = grad_value.view(n, -1, v * t)  # (N, C'*S, V*T)
        grad_rows = torch.bmm(grad_value, x.flatten(2).mT).sum(0)
        grad_x = torch.bmm(_each(value_weight.flatten(0, 1).mT, n), grad_value)
        return (
            grad_x.view(x.shape),
            grad_source,
            grad_weight,
            grad_rows.view(value_weight.shape),
            grad_value.sum((0, 2)).view(value_weight.shape[:2]),
            grad_gain,
        )


def _topology(source: Tensor, weight: Tensor) -> Tensor:
    """The refined graphs of all subsets, (N*C', S*V, V) indexed [v, u]."""
    s, n, _, v, _ = source.shape
    source, weight = source.detach(), weight.detach()  # an exported graph may not write otherwise
    topology = source.new_empty(n, weight.shape[1], s, v * v)
    for k, rows in enumerate(source.flatten(3)):
        torch.bmm(_each(weight[k], n), rows, out=topology[:, :, k])
    return topology.view(-1, s * v, v)


def _scaled(value: Tensor, gain: Tensor | None) -> Tensor:
    """Values (N*C', S, V, T) by their gain, which is the same for all joints."""
    return value if gain is None else value * gain.flatten(0, 1).unsqueeze(2)


def _each(matrix: Tensor, n: int) -> Tensor:
    """One matrix for every clip of a batched product, without a copy."""
    return matrix.expand(n, *matrix.shape)
