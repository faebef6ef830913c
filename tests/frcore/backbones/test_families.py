"""How each family starts, and the parts that its outputs alone would not show."""

import itertools

import numpy as np
import pytest
import torch

from frcore.backbones import create_backbone
from frcore.backbones.hdgcn import EdgeConv, level_graphs, levels_of
from frcore.backbones.stgcn_2018 import spatial_partition
from frcore.errors import UserError
from frcore.skeleton import COCO17, NTU25, UCLA20

LAYOUTS = {"ntu25": 2, "ucla20": 1}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def make(name, skeleton="ntu25", frames=8, **overrides):
    persons = LAYOUTS[skeleton]
    return create_backbone(
        name, skeleton=skeleton, num_persons=persons, num_frames=frames, **overrides
    )


def graphs_of(backbone) -> list[torch.Tensor]:
    return [p for name, p in backbone.named_parameters() if name.endswith(".adjacency")]


@pytest.mark.parametrize("name", ["ctrgcn", "aagcn", "tcagcn"])
@pytest.mark.parametrize(
    ("skeleton", "key"), [("ntu25", "spatial_ntu"), ("ucla20", "spatial_ucla")]
)
def test_graphs_start_as_published(name, skeleton, key, recorded):
    graphs = graphs_of(make(name, skeleton))
    assert len(graphs) == 10
    expected = torch.from_numpy(recorded("initial_adjacency")[key]).float()
    assert all(torch.allclose(graph, expected, atol=1e-7) for graph in graphs)


@pytest.mark.parametrize("center", [1, 2, 21])
def test_hierarchies_start_as_published(center, recorded):
    graphs = graphs_of(make("hdgcn", center=center))
    expected = torch.from_numpy(recorded("initial_adjacency")[f"hdgcn_ntu_center{center}"]).float()
    assert all(torch.allclose(graph, expected, atol=1e-7) for graph in graphs)


def test_the_papers_st_gcn_starts_from_identities():
    graphs = graphs_of(make("stgcn"))
    assert len(graphs) == 10
    assert all(torch.equal(graph, torch.eye(25).repeat(3, 1, 1)) for graph in graphs)


def test_at_first_only_the_skip_paths_speak():
    """Norms of graph units start at 1e-6, so the first maps hardly depend on the graphs."""
    for name in ("stgcn", "aagcn", "tcagcn", "hdgcn"):
        backbone = make(name).eval()
        x = torch.randn(2, 3, 8, 25, 2)
        with torch.no_grad():
            before = backbone(x)[0]
            for graph in graphs_of(backbone):
                graph.mul_(3)
            after = backbone(x)[0]
        assert 0 < (after - before).abs().max() < 1e-3 * before.abs().max(), name


def test_aagcn_parts_that_get_no_gradient_in_the_first_step():
    """alpha and the last layer of the channel gate start at 0."""
    backbone = make("aagcn")
    maps = backbone(torch.randn(2, 3, 8, 25, 2))[-1]
    (maps * torch.randn_like(maps)).sum().backward()
    still = {n: p.numel() for n, p in backbone.named_parameters() if not p.grad.any()}
    assert sum(still.values()) == 459_808
    assert all(".pair." in name or ".squeeze." in name for name in still)


def test_aagcn_gates_are_one_half_at_first():
    block = make("aagcn").eval().blocks[1]
    gates = block.graph[1]
    y = torch.rand(2, 64, 25, 8)
    with torch.no_grad():
        joints = torch.sigmoid(gates.joints(y.mean(3)))[..., None]
        torch.testing.assert_close(gates(y), y * (1 + joints) * 1.5 * 1.5)


def test_aagcn_graphs_are_those_of_the_formula(shake):
    layer = shake(make("aagcn_tiny")).double().blocks[4].graph[0].conv
    x = torch.randn(2, 16, 25, 5, dtype=torch.float64)
    weight = layer.pair.weight[..., 0, 0].unflatten(0, (2, 3, 8))
    bias = layer.pair.bias.unflatten(0, (2, 3, 8))
    for n, k in itertools.product(range(2), range(3)):
        first, second = (
            torch.einsum("qc,cvt->qvt", weight[i, k], x[n]) + bias[i, k][:, None, None]
            for i in (0, 1)
        )
        own = torch.tanh(torch.einsum("qvt,qwt->vw", first, second) / (8 * 5))
        expected = layer.adjacency[k] + layer.alpha * own
        torch.testing.assert_close(layer.graph(x)[n, k], expected, rtol=1e-9, atol=1e-9)


def test_tcagcn_weighs_every_frame(shake):
    """The same pose in another order of frames: a mean over time would not notice."""
    layer = shake(make("tcagcn_tiny")).double().eval().blocks[1].graph.conv
    x = torch.randn(1, 16, 25, 6, dtype=torch.float64)
    weights = layer.weights(x)
    assert weights.shape == (1, 16, 3, 6)
    back = layer.weights(x.flip(-1)).flip(-1)
    assert (weights - back).abs().max() > 1e-3


# ---- HD-GCN's levels -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("center", "levels"),
    [
        (1, [[1], [2, 13, 17], [3, 14, 18], [4, 5, 9, 15, 19], [6, 10, 16, 20], [7, 11], [8, 12]]),
        (2, [[2], [1, 3], [4, 5, 9, 13, 17], [6, 10, 14, 18], [7, 11, 15, 19], [8, 12, 16, 20]]),
        (
            3,
            [[3], [2, 4, 5, 9], [1, 6, 10], [7, 11, 13, 17], [8, 12, 14, 18], [15, 19], [16, 20]],
        ),
    ],
)
def test_nw_ucla_levels_are_those_of_the_authors(center, levels):
    assert [[joint + 1 for joint in level] for level in levels_of(UCLA20, center)] == levels


@pytest.mark.parametrize("skeleton", [NTU25, UCLA20, COCO17])
def test_every_joint_is_in_one_level_around_any_centre(skeleton):
    for center in (None, *range(1, skeleton.num_joints + 1)):
        levels = levels_of(skeleton, center)
        assert sorted(j for level in levels for j in level) == list(range(skeleton.num_joints))
        assert levels[0] == [skeleton.root if center is None else center - 1]
        graphs = level_graphs(levels)
        assert len(graphs) == len(levels) - 1
        columns = graphs[:, 1:].sum(2)  # a column sums to 1, or its joint is not in that level
        assert ((columns - 1).abs() < 1e-6).logical_or(columns == 0).all()


@pytest.mark.parametrize("center", [0, 26, -1, 1.5, "21"])
def test_another_centre_is_refused(center):
    with pytest.raises(UserError, match="center must be a joint of 'ntu25', 1 to 25"):
        make("hdgcn", center=center)


def test_edge_convolution_matches_its_formula():
    layer = EdgeConv(4, neighbours=3, groups=2).double().eval()
    torch.nn.init.uniform_(layer.norm.running_var, 0.5, 1.5)
    torch.nn.init.uniform_(layer.norm.running_mean, -1, 1)
    x = torch.randn(2, 2, 4, 7, dtype=torch.float64)
    out = layer(x)
    for n, g, i in itertools.product(range(2), range(2), range(7)):
        nodes = x[n, g].T  # (V, C)
        near = (nodes - nodes[i]).norm(dim=1).argsort()[:3]
        assert i in near
        edges = []
        for j in near:
            edge = layer.weight[g] @ torch.cat([nodes[j] - nodes[i], nodes[i]])
            rows = slice(4 * g, 4 * g + 4)
            mean, var = layer.norm.running_mean[rows], layer.norm.running_var[rows]
            edge = (edge - mean) / (var + layer.norm.eps).sqrt()
            edges.append(torch.where(edge > 0, edge, 0.2 * edge))
        torch.testing.assert_close(out[n, g, :, i], torch.stack(edges).amax(0))


# ---- the original ST-GCN -------------------------------------------------------------------------


def test_the_spatial_partition_divides_the_normalised_graph():
    parts = spatial_partition(NTU25).numpy()
    hops = NTU25.hop_distance
    whole = (hops <= 1) / (hops <= 1).sum(0)
    np.testing.assert_allclose(parts.sum(0), whole, atol=1e-7)
    assert np.count_nonzero(parts[0] - np.diag(np.diag(parts[0]))) == 0
    for child, parent in NTU25.bones:
        assert parts[1, child, parent] > 0 and parts[2, parent, child] > 0
        assert parts[2, child, parent] == parts[1, parent, child] == 0
    assert [np.count_nonzero(part) for part in parts] == [25, 24, 24]


def test_the_original_norm_is_the_same_for_both_people():
    backbone = make("stgcn_2018").eval()
    x = torch.randn(2, 3, 8, 25, 2)
    with torch.no_grad():
        maps, swapped = (backbone(y)[-1].unflatten(0, (2, 2)) for y in (x, x.flip(-1)))
    torch.testing.assert_close(swapped, maps.flip(1))


def test_the_original_drops_out_in_training_only_but_not_in_the_first_block():
    backbone = make("stgcn_2018_tiny")
    x = torch.randn(2, 3, 8, 25, 2)
    first, second = backbone(x), backbone(x)
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])
    still = make("stgcn_2018_tiny", dropout=0.0)
    assert torch.equal(still(x)[-1], still(x)[-1])
