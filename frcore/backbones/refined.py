"""CTR-GCN's graph convolution as one differentiable operation: stores little, copies nothing.

For subset k of S, with maps as (N, C, V, T) so that frames lie together:

    topology_k = weight_k @ source_k      (N, C', V, V); r + 2 rows: distance, ones, graph
    value_k    = value_weight_k @ x       (N, C', V, T)
    out       += topology_k^T @ value_k   (N, C', V, T)

In deep blocks the topologies are larger than the features: the backward pass makes them again.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class RefinedAggregate(torch.autograd.Function):
    """out[n, c, u, t] = sum over k, v of topology_k[n, c, v, u] * value_k[n, c, v, t].

    Shapes: x (N, C, V, T); source (S, N, R, V, V), rows indexed [v, u]; weight (S, C', R);
    value_weight (S, C', C); value_bias (S, C'). All of one dtype.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        source: Tensor,
        weight: Tensor,
        value_weight: Tensor,
        value_bias: Tensor,
    ) -> Tensor:
        n, _, v, t = x.shape
        channels = weight.shape[1]
        flat_x, flat_source = x.flatten(2), source.flatten(3)
        values, out = [], None
        for k in range(len(source)):
            value = torch.baddbmm(value_bias[k][:, None], _each(value_weight[k], n), flat_x)
            topology = torch.bmm(_each(weight[k], n), flat_source[k])
            left, right = topology.view(-1, v, v).mT, value.view(-1, v, t)
            out = torch.bmm(left, right) if out is None else out.baddbmm_(left, right)
            values.append(value)
        ctx.save_for_backward(x, source, weight, value_weight, *values)
        return out.view(n, channels, v, t)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, source, weight, value_weight, *values = ctx.saved_tensors
        n, _, v, t = x.shape
        channels = weight.shape[1]
        flat_x, flat_source = x.flatten(2), source.flatten(3)
        grad = grad.reshape(-1, v, t)  # (N*C', V, T)
        grad_x = None
        grad_source = torch.empty_like(flat_source)
        grad_weight, grad_value_weight = torch.empty_like(weight), torch.empty_like(value_weight)
        grad_bias = weight.new_empty(len(source), channels)
        for k, value in enumerate(values):
            topology = torch.bmm(_each(weight[k], n), flat_source[k]).view(-1, v, v)
            grad_value = torch.bmm(topology, grad).view(n, channels, -1)
            grad_topology = torch.bmm(value.view(-1, v, t), grad.mT, out=topology)
            grad_topology = grad_topology.view(n, channels, -1)
            torch.bmm(_each(weight[k].mT, n), grad_topology, out=grad_source[k])
            grad_weight[k] = torch.bmm(grad_topology, flat_source[k].mT).sum(0)
            grad_value_weight[k] = torch.bmm(grad_value, flat_x.mT).sum(0)
            grad_bias[k] = grad_value.sum((0, 2))
            back = _each(value_weight[k].mT, n)
            if grad_x is None:
                grad_x = torch.bmm(back, grad_value)
            else:
                grad_x.baddbmm_(back, grad_value)
        return (
            grad_x.view(x.shape),
            grad_source.view(source.shape),
            grad_weight,
            grad_value_weight,
            grad_bias,
        )


def _each(matrix: Tensor, n: int) -> Tensor:
    """One matrix for every clip of a batched product, without a copy."""
    return matrix.expand(n, *matrix.shape)
