"""CTR-GCN: published sizes, its start, and gradients; parity of outputs is in test_golden."""

import re
from collections import Counter

import pytest
import torch

from frcore.backbones import create_backbone
from frcore.errors import UserError
from frcore.skeleton import get_skeleton

LAYOUTS = {"ntu25": (2, 64), "ucla20": (1, 52)}


def make(name="ctrgcn", skeleton="ntu25", num_persons=2, num_frames=64, **overrides):
    return create_backbone(
        name, skeleton=skeleton, num_persons=num_persons, num_frames=num_frames, **overrides
    )


def parameters_by_block(backbone):
    """Numbers of parameters: 0 for the input norm, then blocks from 1."""
    counts = Counter()
    for name, parameter in backbone.named_parameters():
        block = re.match(r"blocks\.(\d+)\.", name)
        counts[int(block[1]) + 1 if block else 0] += parameter.numel()
    return [counts[i] for i in sorted(counts)]


def conv(i, o, kernel=1):
    return i * o * kernel + o


def norm(channels):
    return 2 * channels


def block_formula(i, o, joints, *, first, stride):
    """Parameters of a block, part by part as published."""
    q, r = o // 4, 8 if i == 3 else i // 8
    graph = 3 * joints**2 + 1 + 3 * (2 * conv(i, r) + conv(i, o) + conv(r, o)) + norm(o)
    dilated = 2 * (conv(o, q) + norm(q) + conv(q, q, 5) + norm(q))
    temporal = dilated + conv(o, q) + 2 * norm(q) + conv(o, q) + norm(q)
    projection = conv(i, o) + norm(o)
    skip = projection if i != o else 0
    residual = projection if not first and (i != o or stride == 2) else 0
    return graph + temporal + skip + residual


@pytest.mark.parametrize(
    ("skeleton", "classes", "total"), [("ntu25", 120, 1_462_092), ("ucla20", 10, 1_426_892)]
)
def test_totals_follow_from_the_parts(skeleton, classes, total):
    persons, frames = LAYOUTS[skeleton]
    joints = get_skeleton(skeleton).num_joints
    widths = [3, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256]
    expected = [norm(3 * joints * persons)]
    for block in range(1, 11):
        i, o = widths[block - 1 : block + 1]
        stride = 2 if block in (5, 8) else 1
        expected.append(block_formula(i, o, joints, first=block == 1, stride=stride))
    backbone = make(skeleton=skeleton, num_persons=persons, num_frames=frames)
    assert parameters_by_block(backbone) == expected
    assert sum(expected) + conv(256, classes) == total


def test_tiny_is_a_quarter_as_wide_and_width_can_be_chosen():
    assert [s.channels for s in make("ctrgcn_tiny").stage_info] == [16] * 4 + [32] * 3 + [64] * 3
    assert make("ctrgcn_tiny", width=8).num_features == 32


def test_refinement_fades_in_from_zero():
    """alpha starts at 0: what makes the refinement gets no gradient in the first step."""
    torch.manual_seed(0)
    backbone = make(num_frames=8)
    maps = backbone(torch.randn(2, 3, 8, 25, 2))
    (maps[-1] * torch.randn_like(maps[-1])).sum().backward()
    still = sum(p.numel() for p in backbone.parameters() if not p.grad.any())
    widths = [3, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256]
    expected = 0
    for i, o in zip(widths[:-1], widths[1:], strict=True):
        r = 8 if i == 3 else i // 8
        expected += 3 * (2 * conv(i, r) + conv(r, o))
    assert still == expected == 235_680


def test_gradients_match_finite_differences(shake):
    """Every kind of weight, and the input, along a random direction in float64, in training."""
    torch.manual_seed(0)
    backbone = make("ctrgcn_tiny", skeleton="coco17", num_persons=2, num_frames=9, width=8)
    backbone = shake(backbone).double()
    x = torch.randn(2, 3, 9, 17, 2, dtype=torch.float64, requires_grad=True)
    weights = [torch.randn(4, s.channels, 1, 1).double() for s in backbone.stage_info]

    def value():
        stages = backbone(x)
        return sum((w * s.tanh()).sum() for w, s in zip(weights, stages, strict=True))

    value().backward()
    kinds = {"input": [x]}
    for name, parameter in backbone.named_parameters():
        kinds.setdefault(re.sub(r"blocks\.\d+", "blocks", name), []).append(parameter)
    step = 1e-7  # small: ReLUs that switch within it bend the difference
    for kind, parameters in kinds.items():
        directions = [torch.randn_like(p) for p in parameters]
        slope = sum((p.grad * d).sum() for p, d in zip(parameters, directions, strict=True))
        values = []
        with torch.no_grad():
            for sign in (1, -2, 1):  # there, to the other side, and back
                for p, d in zip(parameters, directions, strict=True):
                    p.add_(d, alpha=sign * step)
                values.append(value().item())
        expected = (values[0] - values[1]) / (2 * step)
        assert slope.item() == pytest.approx(expected, rel=2e-3, abs=1e-4), kind


@pytest.mark.parametrize("width", [10, 0, -4, "w", 2.5])
def test_width_must_split_into_four_branches(width):
    with pytest.raises(UserError, match="width must be a positive multiple of 4"):
        create_backbone("ctrgcn", skeleton="ucla20", num_persons=1, num_frames=8, width=width)
