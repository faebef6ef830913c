"""MS-G3D: graphs by distance, windows across frames, and its size."""

import itertools

import pytest
import torch

from frcore.backbones import create_backbone
from frcore.backbones.msg3d import FrameConv, WindowConv, distance_graphs
from frcore.errors import UserError
from frcore.fr_head import FRHead
from frcore.skeleton import NTU25, UCLA20


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def heard(layer):
    """In float64, with every part off its start."""
    layer = layer.double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer


def normalised(graph):
    degree = graph.sum(1)
    return torch.diag(degree**-0.5) @ graph @ torch.diag(degree**-0.5)


def test_graphs_of_a_frame_join_joints_so_many_bones_apart():
    graphs = distance_graphs(UCLA20, 8)
    hops = torch.from_numpy(UCLA20.hop_distance)
    for k, graph in enumerate(graphs):
        joined = (hops == k).float()
        joined.fill_diagonal_(1)
        torch.testing.assert_close(graph, normalised(joined))
    assert torch.equal(graphs[0], torch.eye(20))


def test_graphs_of_a_window_join_frames():
    graphs = distance_graphs(NTU25, 6, window=3)
    for k in range(6):
        joined = torch.zeros(75, 75)
        for a, b in itertools.product(range(75), range(75)):
            (s, i), (t, j) = divmod(a, 25), divmod(b, 25)
            steps = int(NTU25.hop_distance[i, j])
            if i == j and s != t:
                steps = 1
            joined[a, b] = float(steps == k or a == b)
        torch.testing.assert_close(graphs[k], normalised(joined))


def test_the_frame_convolution_is_the_formula():
    layer = heard(FrameConv(4, 6, UCLA20))
    x = torch.randn(2, 4, 20, 3, dtype=torch.float64)
    weight = layer.conv.weight[..., 0, 0].unflatten(1, (4, 13))  # (C', C, K)
    graphs = layer.graphs()
    y = sum(
        torch.einsum("oc,uv,ncvt->nout", weight[..., k], graphs[k], x) for k in range(13)
    ) + layer.conv.bias.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), torch.relu(layer.norm(y)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("window", [3, 5])
def test_the_window_convolution_is_the_papers_window_by_window(window, stride):
    """Every window on its own: join its frames' joints, one convolution of all scales, collapse."""
    layer = heard(WindowConv(2, 3, 6, window, stride, UCLA20))
    x = torch.randn(2, 2, 20, 7, dtype=torch.float64)
    padded = torch.nn.functional.pad(x, (window // 2, window // 2))
    weight = layer.conv.weight[..., 0, 0].unflatten(0, (6, 3))  # (K, C', C)
    collapse = layer.collapse.weight[..., 0, 0].unflatten(1, (3, window))
    graphs, outputs = layer.graphs(), []
    for start in range(0, 7, stride):
        nodes = padded[..., start : start + window].transpose(2, 3).flatten(2)  # (N, C, W*V)
        y = sum(torch.einsum("oc,uv,ncv->nou", weight[k], graphs[k], nodes) for k in range(6))
        y = y + layer.bias[:, None]
        y = torch.relu(layer.norm(y.unsqueeze(-1))).squeeze(-1).unflatten(2, (window, 20))
        y = torch.einsum("ocw,ncwv->nov", collapse, y) + layer.collapse.bias[:, None]
        outputs.append(y)
    expected = layer.out_norm(torch.stack(outputs, dim=-1))
    torch.testing.assert_close(layer(x), expected, rtol=1e-9, atol=1e-9)


def test_it_has_the_published_size():
    backbone = create_backbone("msg3d", skeleton="ntu25", num_persons=2, num_frames=64)
    count = sum(p.numel() for p in backbone.parameters()) + 385 * 60
    assert round(count / 1e6, 2) == 3.19
    assert [(s.name, s.channels, s.frames) for s in backbone.stage_info] == [
        ("low", 96, 64),
        ("mid", 192, 32),
        ("fin", 384, 16),
    ]


def test_three_stages_take_three_levels():
    backbone = create_backbone("msg3d_tiny", skeleton="ucla20", num_persons=1, num_frames=12)
    with pytest.raises(UserError, match="different stages of the backbone, from 1 to 3"):
        FRHead(backbone.stage_info, 4)
    head = FRHead(backbone.stage_info, 4, levels=(1, 2, 3), level_weights=(0.1, 0.5, 1))
    assert head.spaces[-2:] == ("fin.spatial", "fin.temporal")


@pytest.mark.parametrize("width", [8, 0, -6, "w", 2.5])
def test_width_must_split_into_six_branches(width):
    with pytest.raises(UserError, match="width must be a positive multiple of 6"):
        create_backbone("msg3d", skeleton="ucla20", num_persons=1, num_frames=8, width=width)
