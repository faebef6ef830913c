"""A recogniser's outputs, its sizes with and without the head, and models built from a config."""

import pytest
import torch
from torch import nn

from frcore.backbones import create_backbone
from frcore.config import load_recipe
from frcore.data.catalog import get_benchmark
from frcore.errors import UserError
from frcore.fr_head import FRHead
from frcore.recognizer import Recognizer, build_recognizer
from frcore.skeleton import Skeleton, get_skeleton

ARM = Skeleton("arm", ("shoulder", "elbow", "wrist", "hand"), bones=((1, 0), (2, 1), (3, 2)))
CLASSES = 5


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def make(skeleton=ARM, persons=2, frames=9, head=None, classes=CLASSES, dropout=0.0, **overrides):
    backbone = create_backbone(
        "ctrgcn_tiny",
        skeleton=skeleton,
        num_persons=persons,
        num_frames=frames,
        **{"width": 8, **overrides},
    )
    fr_head = None if head is None else FRHead(backbone.stage_info, classes, **head)
    model = Recognizer(backbone, num_classes=classes, head=fr_head, dropout=dropout)
    with (
        torch.no_grad()
    ):  # fresh graph units are all but silent; make them heard, then settle norms
        for parameter in model.backbone.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = 1.0
        model(clips(model, n=8, frames=frames))
        for norm in norms:
            norm.momentum = 0.1
    return model


def clips(model, n=3, frames=9):
    backbone = model.backbone
    return torch.randn(n, 3, frames, backbone.skeleton.num_joints, backbone.num_persons)


@pytest.mark.parametrize("skeleton", ["coco17", "ucla20", "ntu25", ARM])
@pytest.mark.parametrize("persons", [1, 2])
def test_outputs_have_the_promised_shapes(skeleton, persons):
    model = make(skeleton, persons)
    out = model(clips(model))
    joints = get_skeleton(skeleton).num_joints
    assert out.logits.shape == (3, CLASSES)
    assert out.embedding.shape == (3, 32)
    assert len(out.stages) == 10
    assert out.stages[0].shape == (3 * persons, 8, 9, joints)
    assert out.stages[4].shape == (3 * persons, 16, 5, joints)  # 9 frames, halved and rounded up
    assert out.stages[9].shape == (3 * persons, 32, 3, joints)


def test_the_embedding_is_the_mean_over_joints_frames_and_persons_of_the_last_stage():
    model = make(persons=2).eval()
    out = model(clips(model))
    for n in range(3):
        persons = out.stages[-1][2 * n : 2 * n + 2]  # (M, C', T', V)
        torch.testing.assert_close(out.embedding[n], persons.mean((0, 2, 3)))
    weight, bias = model.classifier.weight, model.classifier.bias
    torch.testing.assert_close(out.logits, out.embedding @ weight.t() + bias)


def test_in_evaluation_a_clip_does_not_depend_on_its_batch():
    model = make().eval()
    x = clips(model, n=4)
    together = model(x).logits
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(model(x.flip(0)).logits.flip(0), together, **close)
    for n in range(4):
        torch.testing.assert_close(model(x[n : n + 1]).logits[0], together[n], **close)
    assert not torch.allclose(together[0], together[1], rtol=1e-2, atol=1e-2)
    trained = model.train()(x).logits  # batch statistics: here it does
    assert not torch.allclose(model(x[:2]).logits, trained[:2], rtol=1e-2, atol=1e-2)


def test_dropout_works_in_training_only_and_behind_the_embedding():
    model = make(dropout=0.5)
    x = clips(model)
    first, second = model(x), model(x)
    assert torch.equal(first.embedding, second.embedding)
    assert not torch.equal(first.logits, second.logits)
    model.eval()
    assert torch.equal(model(x).logits, model(x).logits)
    plain = make()
    assert torch.equal(plain(x).logits, plain(x).logits)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 9, 5, 2), r"V=5 \(expected 4\)"),
        ((2, 9, 4, 3, 2), r"looks transposed: try .permute\(0, 3, 1, 2, 4\)"),
        ((2, 3, 9, 4), r"has 4 axes"),
    ],
)
def test_fault_11_wrong_axes_are_named(shape, message):
    with pytest.raises(UserError, match=message):
        make()(torch.zeros(shape))


# ---- with and without the head -------------------------------------------------------------------


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("layout", "classes", "plain", "with_head"),
    [
        (("ntu25", 2, 64), 120, 1_462_092, 1_999_048),
        (("ntu25", 2, 64), 60, 1_446_672, 1_983_628),
        (("ucla20", 1, 52), 10, 1_426_892, 1_934_197),
    ],
)
def test_parameters_are_as_published(layout, classes, plain, with_head):
    skeleton, persons, frames = layout
    backbone = create_backbone("ctrgcn", skeleton=skeleton, num_persons=persons, num_frames=frames)
    assert count(Recognizer(backbone, num_classes=classes)) == plain
    head = FRHead(backbone.stage_info, classes)
    assert count(Recognizer(backbone, num_classes=classes, head=head)) == with_head


@pytest.mark.parametrize(
    ("options", "total"),
    [
        (None, 1_462_092),
        ({"levels": (10,), "level_weights": (1,), "decouple": False}, 1_527_884),
        ({"levels": (10,), "level_weights": (1,)}, 1_598_874),
        ({"decouple": False, "hidden": None}, 1_614_348),
        ({}, 1_999_048),
    ],
    ids=["baseline", "+CL", "+ST", "+ML", "full"],
)
def test_table_1_of_the_paper(options, total):
    backbone = create_backbone("ctrgcn", skeleton="ntu25", num_persons=2, num_frames=64)
    head = None if options is None else FRHead(backbone.stage_info, 120, **options)
    assert count(Recognizer(backbone, num_classes=120, head=head)) == total


def test_without_the_head_nothing_of_it_is_left_and_the_outputs_are_the_same():
    with_head = make(head={}).eval()
    plain = make().eval()
    state = {k: v for k, v in with_head.state_dict().items() if not k.startswith("head.")}
    assert len(state) < len(with_head.state_dict())
    plain.load_state_dict(state, strict=True)
    assert not any("head" in key or "prototypes" in key for key in plain.state_dict())
    x = clips(plain)
    assert torch.equal(plain(x).logits, with_head(x).logits)


class Logits(nn.Module):
    """What is deployed."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).logits


def test_a_model_without_head_is_exported_for_batches_of_any_size(tmp_path):
    model = make().eval()
    sizes = {0: torch.export.Dim("n", min=2, max=64)}
    exported = torch.export.export(Logits(model), (clips(model, n=4),), dynamic_shapes=(sizes,))
    torch.export.save(exported, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    for n in (2, 7):
        x = clips(model, n=n)
        torch.testing.assert_close(loaded(x), model(x).logits, rtol=1e-5, atol=1e-5)
    assert set(exported.state_dict) == {f"model.{name}" for name in model.state_dict()}


def test_pooling_and_classifier_stay_float32_under_autocast():
    model = make().eval()
    x = clips(model)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x)
    assert out.stages[-1].dtype == torch.bfloat16
    assert out.logits.dtype == out.embedding.dtype == torch.float32
    pooled = out.stages[-1].double().mean((2, 3)).unflatten(0, (len(x), -1)).mean(1)
    torch.testing.assert_close(out.embedding.double(), pooled, rtol=1e-5, atol=1e-6)


def test_the_classifier_starts_with_the_published_spread():
    backbone = create_backbone("ctrgcn", skeleton=ARM, num_persons=1, num_frames=4)
    model = Recognizer(backbone, num_classes=50)
    assert model.classifier.weight.std().item() == pytest.approx((2 / 50) ** 0.5, rel=0.05)


# ---- from a configuration ------------------------------------------------------------------------


def test_a_configuration_builds_its_model_and_head():
    config = load_recipe(
        "synthetic_tiny",
        {
            "model.overrides": {"width": 8},
            "model.dropout": 0.25,
            "data.transform.frames": 20,
            "head": {"levels": [2, 10], "level_weights": [1, 1], "anchors": "all"},
        },
    )
    benchmark = get_benchmark("synthetic")
    model = build_recognizer(config, benchmark)
    assert model.backbone.num_features == 32
    assert model.backbone.num_frames == 20
    assert model.backbone.skeleton == benchmark.skeleton
    assert model.dropout.p == 0.25
    assert model.classifier.out_features == benchmark.num_classes
    assert model.head.spaces[0] == "block2.spatial"
    assert model.head.contrast["fin_temporal"].options["anchors"] == "all"
    assert build_recognizer(config, benchmark, head=False).head is None
    baseline = load_recipe("synthetic_tiny", {"data.persons": 1})
    assert build_recognizer(baseline, benchmark).head is None
    assert build_recognizer(baseline, benchmark).backbone.num_persons == 1


def test_a_model_sees_the_benchmarks_frames_unless_the_recipe_says_otherwise():
    benchmark = get_benchmark("nw_ucla")
    recipe = load_recipe("nw_ucla_joint", {"model.backbone": "ctrgcn_tiny"})
    assert build_recognizer(recipe, benchmark).backbone.num_frames == 52
    recipe = load_recipe(recipe, {"data.transform.frames": 20})
    assert build_recognizer(recipe, benchmark).backbone.num_frames == 20
