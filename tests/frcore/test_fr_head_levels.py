"""The whole head: its branches on a backbone's stages, their sizes, weights and order."""

import copy

import pytest
import torch

from frcore.backbones import StageInfo, create_backbone
from frcore.contrast import batch_outcomes
from frcore.errors import UserError
from frcore.fr_head import FRHead, contrast_branches

STAGES = (
    StageInfo("low", 4, 8, 5),
    StageInfo("block2", 4, 8, 5),
    StageInfo("fin", 6, 4, 5),
)
CLASSES = 3
LAST = {"levels": (3,), "level_weights": (1,)}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make_head(**options):
    options = {"levels": (1, 3), "level_weights": (0.1, 1.0), "hidden": 20} | options
    return FRHead(STAGES, CLASSES, **options)


def make_batch(clips=12, persons=2, stages=STAGES):
    maps = [torch.rand(clips * persons, s.channels, s.frames, s.joints) for s in stages]
    logits = torch.randn(clips, CLASSES)
    labels = torch.where(torch.rand(clips) < 0.5, logits.argmax(1), torch.arange(clips) % CLASSES)
    return maps, labels, logits


def count(module):
    return sum(p.numel() for p in module.parameters())


# ---- sizes ---------------------------------------------------------------------------------------


def ctrgcn_stages(skeleton, persons, frames):
    return create_backbone(
        "ctrgcn", skeleton=skeleton, num_persons=persons, num_frames=frames
    ).stage_info


@pytest.mark.parametrize(
    ("layout", "added"),
    [
        (("ntu25", 2, 64), (130_986, 132_406, 136_782, 136_782)),
        (("ucla20", 1, 52), (116_272, 124_607, 133_213, 133_213)),
    ],
)
def test_each_level_adds_the_published_number_of_parameters(layout, added):
    stages = ctrgcn_stages(*layout)
    for level, expected in zip((1, 5, 8, 10), added, strict=True):
        stage = stages[level - 1]
        c, t, v, h = stage.channels, stage.frames, stage.joints, 256
        a, b = h // v, h // t  # squeezed channels: spatial, temporal
        formula = (a * v + 1) * h + (b * t + 1) * h + (c + 1) * (a + b) + 2 * (a + b)
        head = FRHead(stages, 120, levels=(level,), level_weights=(1.0,))
        assert count(head) == formula == expected
    assert count(FRHead(stages, 7)) == sum(added) in (536_956, 507_305)


@pytest.mark.parametrize(
    ("row", "options", "added"),
    [
        ("+ CL loss", {"levels": (10,), "level_weights": (1,), "decouple": False}, 65_792),
        ("+ ST decouple", {"levels": (10,), "level_weights": (1,)}, 136_782),
        ("+ ML refine", {"decouple": False, "hidden": None}, 152_256),
        ("full", {}, 536_956),
    ],
)
def test_switches_build_the_rows_of_table_1(row, options, added):
    assert count(FRHead(ctrgcn_stages("ntu25", 2, 64), 120, **options)) == added, row


# ---- branches ------------------------------------------------------------------------------------


def test_spaces_name_level_and_branch():
    assert make_head().spaces == ("low.spatial", "low.temporal", "fin.spatial", "fin.temporal")
    assert make_head(decouple=False).spaces == ("low.pooled", "fin.pooled")
    head = make_head(hidden=16)
    assert head.prototypes("fin.temporal").shape == (CLASSES, 16)


def test_a_branch_sees_one_axis_and_the_mean_over_the_other_and_over_persons():
    head = make_head().eval()
    maps, _, _ = make_batch(clips=3, persons=2)
    x = maps[2]  # (3 * 2, 6, 4, 5)
    frames, joints = x[:, :, [2, 0, 3, 1]], x[..., [4, 2, 0, 1, 3]]

    def features(space, stage):
        return head.project([None, None, stage], 3, space)

    for space, blind, sees in [
        ("fin.spatial", frames, joints),
        ("fin.temporal", joints, frames),
    ]:
        expected = features(space, x)
        assert expected.shape == (3, 20)
        torch.testing.assert_close(features(space, blind), expected)
        assert not torch.allclose(features(space, sees), expected, atol=1e-3)
        one_person = x.view(3, 2, 6, 4, 5).mean(1)
        torch.testing.assert_close(features(space, one_person), expected)
    pooled = make_head(decouple=False)
    projected = pooled.contrast["fin_pooled"].project(x.view(3, 2, 6, 20).mean((1, 3)))
    torch.testing.assert_close(pooled.project([None, None, x], 3, "fin.pooled"), projected)


def test_the_branches_are_weighed_by_level_and_summed():
    out = make_head(level_weights=(0.25, 2)).train()(*make_batch())
    spatial_low, temporal_low, spatial_fin, temporal_fin = out.branch_losses
    expected = 0.25 * (spatial_low + temporal_low) + 2 * (spatial_fin + temporal_fin)
    torch.testing.assert_close(out.loss.detach(), expected)
    assert out.loss.requires_grad
    assert not out.branch_losses.requires_grad


@pytest.mark.parametrize("hidden", [20, None])  # None: widths 4, 6 and 4, run in groups
def test_branches_run_together_equal_each_run_alone(hidden):
    options = {"levels": (1, 3, 2), "level_weights": (1, 2, 3), "hidden": hidden}
    head = make_head(**options, decouple=hidden is not None)
    alone = copy.deepcopy(head)
    maps, labels, logits = make_batch()
    out = head(maps, labels, logits)
    outcomes = batch_outcomes(labels, logits)
    for i, space in enumerate(head.spaces):
        branch = alone.contrast[space.replace(".", "_")]
        features = alone.project(maps, len(labels), space)
        losses, stats = contrast_branches([branch], features[None], outcomes)
        torch.testing.assert_close(losses[0].detach(), out.branch_losses[i])
        torch.testing.assert_close(stats.fn_cosine[0], out.stats.fn_cosine[i])
        torch.testing.assert_close(stats.fp_cosine[0], out.stats.fp_cosine[i])
        torch.testing.assert_close(alone.prototypes(space), head.prototypes(space))
    assert out.stats.counts[0].sum() == (logits.argmax(1) == labels).sum()


def test_evaluation_leaves_prototypes_and_norms_alone():
    head = make_head().eval()
    before = {k: v.clone() for k, v in head.state_dict().items()}
    head(*make_batch())
    assert all(torch.equal(before[k], v) for k, v in head.state_dict().items())
    head.train()(*make_batch())
    after = head.state_dict()
    for key in ("contrast.fin_spatial.prototypes", "squeeze.low_temporal.norm.running_mean"):
        assert not torch.equal(before[key], after[key])


def test_a_head_survives_save_and_load():
    head, other = make_head(), make_head()
    head(*make_batch())
    other.load_state_dict(head.state_dict(), strict=True)
    maps, labels, logits = make_batch()
    assert torch.equal(
        head.eval()(maps, labels, logits).loss, other.eval()(maps, labels, logits).loss
    )
    assert [k for k in head.state_dict() if k.endswith("prototypes")] == [
        f"contrast.{space.replace('.', '_')}.prototypes" for space in head.spaces
    ]


# ---- numbers -------------------------------------------------------------------------------------


def test_the_head_stays_in_float32_under_autocast():
    head = make_head()
    maps, labels, logits = make_batch()
    maps, logits = [x.bfloat16() for x in maps], logits.bfloat16()
    twin = copy.deepcopy(head)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = head(maps, labels, logits)
    plain = twin([x.float() for x in maps], labels, logits.float())
    assert out.loss.dtype == torch.float32
    assert torch.equal(out.branch_losses, plain.branch_losses)
    assert torch.equal(head.prototypes("fin.spatial"), twin.prototypes("fin.spatial"))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_head_runs_in_another_type_beside_float32_maps(dtype):
    head, (maps, labels, logits) = make_head(), make_batch()
    expected = copy.deepcopy(head)(maps, labels, logits).loss
    loss = head.to(dtype)(maps, labels, logits).loss
    loss.backward()
    assert loss.item() == pytest.approx(
        expected.item(), rel=1e-5 if dtype == torch.float64 else 0.1
    )


@pytest.mark.parametrize("frames", [7, 50, 64])
def test_frames_that_do_not_divide_by_four_are_promised_rounded_up(frames):
    backbone = create_backbone(
        "ctrgcn_tiny", skeleton="ucla20", num_persons=1, num_frames=frames, width=8
    )
    head = FRHead(backbone.stage_info, CLASSES)
    out = head(backbone(torch.randn(3, 3, frames, 20, 1)), torch.arange(3), torch.eye(3))
    assert torch.isfinite(out.loss)
    sizes = {"low": frames, "mid": -(-frames // 2), "high": -(-frames // 4), "fin": -(-frames // 4)}
    for name, size in sizes.items():
        in_features = head.contrast[f"{name}_temporal"].project.in_features
        assert in_features == 256 // size * size  # nothing is pooled


def test_an_axis_longer_than_the_width_is_pooled_to_it():
    stage = StageInfo("fin", 6, 24, 5)
    head = FRHead([stage], CLASSES, levels=(1,), level_weights=(1.0,), hidden=12)
    assert head.contrast["fin_temporal"].project.in_features == 12
    maps, labels, logits = make_batch(stages=[stage])
    assert torch.isfinite(head(maps, labels, logits).loss)
    features = head.project(maps, 12, "fin.temporal")
    pairs = maps[0].unflatten(2, (12, 2)).mean(3)  # frames 0 and 1, 2 and 3, ...
    torch.testing.assert_close(head.project([pairs], 12, "fin.temporal"), features)
    assert features.std(0).min() > 0  # the features say something


# ---- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"levels": (0,), "level_weights": (1,)},
        {"levels": (4,), "level_weights": (1,)},
        {"levels": (3, 3), "level_weights": (1, 1)},
        {"levels": (1, 3), "level_weights": (1,)},
        {"levels": (), "level_weights": ()},
    ],
)
def test_levels_that_do_not_fit_the_backbone_are_refused(options):
    with pytest.raises(UserError, match=r"stages of the backbone, from 1 to 3, each with a level"):
        FRHead(STAGES, CLASSES, **options)


def test_an_unknown_space_is_refused_with_the_spaces_there_are():
    head = make_head(**LAST)
    with pytest.raises(UserError) as error:
        head.project([None] * 3, 1, "fin.spacial")
    assert "Did you mean 'fin.spatial'? Available: fin.spatial, fin.temporal." in str(error.value)


def test_a_misspelt_option_is_refused():
    with pytest.raises(UserError, match="anchors must be 'true_positive' or 'all', not 'tp'"):
        make_head(anchors="tp")
    with pytest.raises(TypeError, match="use_fm"):
        make_head(use_fm=False)
