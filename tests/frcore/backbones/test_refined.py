"""The fast graph convolution computes the paper's formula, and its gradients are right."""

import shutil

import pytest
import torch
import torch.nn.functional as F

from frcore.backbones.ctrgcn import RefinedGraphConv
from frcore.backbones.frame import Block, GraphUnit
from frcore.backbones.layers import MultiScaleTCN, PointwiseConv
from frcore.backbones.refined import RefinedAggregate
from frcore.backbones.tcagcn import AggregatedGraphConv
from frcore.skeleton import NTU25, UCLA20


def formula(layer, x):
    """CTR-GC written subset by subset, as the paper has it: maps (N, C, V, T)."""
    out = 0
    pair = layer.pair.weight.unflatten(0, (2, layer.subsets, -1)).squeeze(-1)  # (2, S, r, C)
    pair_bias = layer.pair.bias.unflatten(0, (2, layer.subsets, -1))
    expand, value = layer.expand.weight[..., 0, 0], layer.value.weight[..., 0, 0]
    for k in range(layer.subsets):
        rows = slice(k * layer.channels, (k + 1) * layer.channels)
        p, s = (
            (torch.einsum("rc,ncvt->nrvt", w[k], x) + b[k][:, None, None]).mean(3)
            for w, b in zip(pair, pair_bias, strict=True)
        )
        distance = torch.tanh(p[:, :, :, None] - s[:, :, None, :])  # [u, v]
        refined = torch.einsum("or,nruv->nouv", expand[rows], distance)
        refined = refined + layer.expand.bias[rows][:, None, None]
        topology = layer.alpha * refined + layer.adjacency[k]
        values = torch.einsum("oc,ncvt->novt", value[rows], x)
        values = values + layer.value.bias[rows][:, None, None]
        out = out + torch.einsum("nouv,novt->nout", topology, values)
    return out


@pytest.fixture
def layer():
    torch.manual_seed(0)
    made = RefinedGraphConv(16, 8, torch.from_numpy(UCLA20.adjacency())).double()
    with torch.no_grad():
        made.alpha.fill_(0.7)
        for bias in (made.pair.bias, made.expand.bias, made.value.bias):
            bias.normal_()
    return made


def compare_with_gradients(layer, plain, x):
    """The layer and its plain formula: outputs, and gradients of the maps and every weight."""
    x.requires_grad_()
    results = []
    for run in (layer, plain):
        layer.zero_grad()
        x.grad = None
        out = run(x)
        (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
        results.append([out.detach(), x.grad, *(p.grad for p in layer.parameters())])
    for fast, expected in zip(*results, strict=True):
        torch.testing.assert_close(fast, expected, rtol=1e-10, atol=1e-10)


def test_fast_path_equals_the_formula_with_all_gradients(layer):
    x = torch.randn(3, 16, 20, 7, dtype=torch.float64)
    compare_with_gradients(layer, lambda x: formula(layer, x), x)


def test_topology_is_the_one_that_forward_uses(layer):
    x = torch.randn(2, 16, 20, 5, dtype=torch.float64)
    value = F.conv2d(x, layer.value.weight, layer.value.bias).unflatten(1, (3, 8))
    by_hand = torch.einsum("nkcuv,nkcvt->ncut", layer.topology(x), value)
    torch.testing.assert_close(layer(x), by_hand, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gain", [[], [(2, 6, 3, 5)]])
def test_gradients_agree_with_finite_differences(gain):
    torch.manual_seed(1)
    shapes = [(2, 3, 4, 5), (3, 2, 2, 4, 4), (3, 6, 2), (6, 3, 3), (6, 3), *gain]
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(RefinedAggregate.apply, inputs)


def test_values_weighed_by_frame_equal_the_formula():
    """TCA-GCN's sum, with what autograd makes of the materialised topologies."""
    torch.manual_seed(4)
    layer = AggregatedGraphConv(16, 8, torch.from_numpy(UCLA20.adjacency())).double().eval()
    torch.nn.init.constant_(layer.alpha, 0.7)

    def plain(x):
        value = F.conv2d(x, layer.value.weight).unflatten(1, (3, 8))  # (N, S, C', V, T)
        value = value * layer.weights(x).transpose(1, 2).unsqueeze(3)
        return torch.einsum("nkcuv,nkcvt->ncut", layer.topology(x), value)

    compare_with_gradients(layer, plain, torch.randn(3, 16, 20, 7, dtype=torch.float64))


def test_no_topology_is_kept_for_the_backward_pass():
    layer = RefinedGraphConv(64, 256, torch.from_numpy(NTU25.adjacency()))
    x = torch.randn(4, 64, 25, 8, requires_grad=True)  # few frames: the values are smaller
    saved = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.setdefault(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes()),
        lambda t: t,
    ):
        layer(x)
    one_topology = 4 * 4 * 256 * 25 * 25  # bytes; three of them would have to be kept
    assert max(saved.values()) < one_topology


@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_product_equals_the_convolution(stride):
    torch.manual_seed(2)
    conv = PointwiseConv(6, 4, stride).double()
    x = torch.randn(3, 6, 5, 9, dtype=torch.float64)
    expected = F.conv2d(x, conv.weight, conv.bias, stride=(1, stride))
    torch.testing.assert_close(conv(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.slow  # the compiler takes most of a minute
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("make", [RefinedGraphConv, AggregatedGraphConv])
def test_what_the_compiler_makes_of_a_block_computes_the_same(make, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    graph = GraphUnit(make(8, 8, torch.from_numpy(UCLA20.adjacency())), 8, 8)
    block = Block(graph, MultiScaleTCN(8), 8, 8, stride=1, first=False).double()
    torch.nn.init.constant_(graph.conv.alpha, 0.5)
    torch.nn.init.constant_(graph.norm.weight, 1.0)
    compare_with_gradients(
        block, torch.compile(block), torch.randn(3, 8, 20, 12, dtype=torch.float64)
    )
    torch.compiler.reset()


def test_bfloat16_autocast_stays_close():
    torch.manual_seed(3)
    layer = RefinedGraphConv(16, 8, torch.from_numpy(UCLA20.adjacency()))
    x = torch.randn(2, 16, 20, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    expected = layer(x)
    assert (out.float() - expected).abs().max() < 0.03 * expected.abs().max()
