"""Numbers of parameters as published: by block, in all, with the FR Head and without it."""

import re
from collections import Counter

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from frcore.backbones import create_backbone
from frcore.fr_head import FRHead
from frcore.recognizer import Recognizer

NTU = {"skeleton": "ntu25", "num_persons": 2, "num_frames": 64}
UCLA = {"skeleton": "ucla20", "num_persons": 1, "num_frames": 52}
HEAD = {120: 536_956, 60: 536_956, 10: 507_305}  # of the FR Head, by number of classes

# input norm, then the ten blocks; TCA-GCN's without 3 (i * o + o) weights a block, never used
BLOCKS = {
    "stgcn": [300, 23_827, *[35_155] * 3, 126_547, *[133_971] * 2, 496_979, *[528_211] * 2],
    "aagcn": [300, 46_966, *[64_150] * 3, 225_494, *[245_206] * 2, 883_286, *[963_670] * 2],
    "ctrgcn": [300, 12_052, *[26_308] * 3, 78_084, *[97_844] * 2, 301_748, *[382_228] * 2],
    "tcagcn": [300, 30_428, *[105_380] * 3, 237_796, *[411_636] * 2, 936_564, *[1_632_404] * 2],
    "hdgcn": [300, 28_050, *[36_226] * 3, 112_146, *[107_282] * 2, 405_554, *[387_634] * 2],
}
WIDTHS = [3, 64, 64, 64, 64, 128, 128, 128, 256, 256, 256]

TOTALS = [
    ("stgcn", {}, NTU, 120, 2_108_322),
    ("stgcn", {}, NTU, 60, 2_092_902),
    ("stgcn", {}, UCLA, 10, 2_073_122),
    ("stgcn_2018", {}, NTU, 120, 3_114_252),
    ("aagcn", {}, NTU, 120, 3_797_088),
    ("aagcn", {}, NTU, 60, 3_781_668),
    ("aagcn", {}, UCLA, 10, 3_753_440),
    ("ctrgcn", {}, NTU, 120, 1_462_092),
    ("ctrgcn", {}, NTU, 60, 1_446_672),
    ("ctrgcn", {}, UCLA, 10, 1_426_892),
    ("tcagcn", {}, NTU, 120, 5_640_148 - 656_064),
    ("tcagcn", {}, NTU, 60, 5_624_728 - 656_064),
    ("tcagcn", {}, UCLA, 10, 5_604_948 - 656_064),
    ("hdgcn", {"center": 1}, NTU, 120, 1_675_400),
    ("hdgcn", {"center": 2}, NTU, 120, 1_675_400),
    ("hdgcn", {"center": 21}, NTU, 60, 1_659_980),
    ("hdgcn", {"center": 1}, UCLA, 10, 1_606_450),
    ("hdgcn", {"center": 3}, UCLA, 10, 1_606_450),
    ("hdgcn", {"center": 2}, UCLA, 10, 1_453_282),
]


def count(model) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_have_the_published_number_of_parameters(name):
    counts = Counter()
    for key, parameter in create_backbone(name, **NTU).named_parameters():
        block = re.match(r"blocks\.(\d+)\.", key)
        counts[int(block[1]) + 1 if block else 0] += parameter.numel()
    expected = list(BLOCKS[name])
    if name == "tcagcn":
        dead = [3 * (i * o + o) for i, o in zip(WIDTHS, WIDTHS[1:], strict=False)]
        assert sum(dead) == 656_064
        expected[1:] = [n - never for n, never in zip(expected[1:], dead, strict=True)]
    assert [counts[block] for block in sorted(counts)] == expected


@pytest.mark.parametrize(("name", "overrides", "layout", "classes", "total"), TOTALS)
def test_totals_are_as_published(name, overrides, layout, classes, total):
    backbone = create_backbone(name, **layout, **overrides)
    assert count(Recognizer(backbone, num_classes=classes)) == total
    head = FRHead(backbone.stage_info, classes)
    assert count(Recognizer(backbone, num_classes=classes, head=head)) == total + HEAD[classes]


def test_without_attention_aagcn_is_smaller_by_its_three_gates():
    plain = create_backbone("aagcn", **NTU, attention=False)
    gates = 0
    for o in WIDTHS[1:]:
        gates += (9 * o + 1) + (25 * o + 1) + (o * o // 2 + o // 2) + (o * o // 2 + o)
    assert count(create_backbone("aagcn", **NTU)) - count(plain) == gates


@pytest.mark.parametrize("name", BLOCKS)
def test_taps_are_those_of_the_paper(name):
    stages = create_backbone(name, **NTU).stage_info
    taps = [(s.name, s.channels, s.frames) for s in (stages[i - 1] for i in (1, 5, 8, 10))]
    assert taps == [("low", 64, 64), ("mid", 128, 32), ("high", 256, 16), ("fin", 256, 16)]
    assert len(stages) == 10


MULTIPLY_ADDS = [  # 10^9 a clip; of the published models
    ("stgcn", NTU, 2.527),
    ("stgcn", UCLA, 0.812),
    ("stgcn_2018", NTU, 3.65),
    ("aagcn", NTU, 4.143),
    ("aagcn", UCLA, 1.335),
    ("ctrgcn", NTU, 1.939),
    ("ctrgcn", UCLA, 0.618),
    ("tcagcn", NTU, 2.610),
    ("tcagcn", UCLA, 0.844),
    ("hdgcn", NTU, 1.822),
    ("hdgcn", UCLA, 0.580),
]


@pytest.mark.parametrize(("name", "layout", "published"), MULTIPLY_ADDS)
def test_a_clip_costs_what_is_published_or_less(name, layout, published):
    """Less where products are merged; the original and the attentive ones have none to merge."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        backbone = create_backbone(name, **layout).eval().to("meta")
        joints, frames = backbone.skeleton.num_joints, backbone.num_frames
        backbone(torch.empty(1, 3, frames, joints, backbone.num_persons))
    measured = counter.get_total_flops() / 2e9
    least = 0.8 if name in ("ctrgcn", "tcagcn", "hdgcn") else 0.99
    assert least * published < measured < 1.01 * published
