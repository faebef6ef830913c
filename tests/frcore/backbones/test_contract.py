"""What every registered backbone promises, whatever its family."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from frcore.backbones import create_backbone, list_backbones
from frcore.config import load_recipe
from frcore.data.benchmarks import NW_UCLA
from frcore.fr_head import FRHead
from frcore.recognizer import Recognizer, build_recognizer, check_model
from frcore.skeleton import Skeleton, get_skeleton

TRIANGLE = Skeleton("triangle", ("a", "b", "c"), bones=((1, 0), (2, 0)))
TINY = list_backbones("*_tiny")
# The promises that width could break hold for the full networks, too: at length, in the slow tier.
EVERY = [
    pytest.param(name, marks=() if name in TINY else pytest.mark.slow) for name in list_backbones()
]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def make(name, skeleton="ucla20", persons=2, frames=9, **overrides):
    return create_backbone(
        name, skeleton=skeleton, num_persons=persons, num_frames=frames, **overrides
    )


@pytest.fixture
def settled(shake):
    """A backbone whose every part is heard, with norms that know its maps; in evaluation."""

    def build(name, *args, **overrides):
        backbone = shake(make(name, *args, **overrides)).train()
        norms = [m for m in backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            backbone(clips(backbone, n=8))
        for norm in norms:
            norm.momentum = 0.1
        return backbone.eval()

    return build


def clips(backbone, n=3):
    joints, persons = backbone.skeleton.num_joints, backbone.num_persons
    return torch.randn(n, backbone.in_channels, backbone.num_frames, joints, persons)


def promised(backbone, n):
    maps = n * backbone.num_persons
    return [(maps, s.channels, s.frames, s.joints) for s in backbone.stage_info]


def test_every_family_has_a_tiny_sibling():
    assert {f"{name}_tiny" for name in list_backbones() if not name.endswith("_tiny")} == set(TINY)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("frames", [1, 2, 7, 50, 52, 64])
def test_stage_maps_are_as_promised_whatever_the_frames(name, frames):
    backbone = make(name, frames=frames).eval()
    with torch.no_grad():
        stages = backbone(clips(backbone))
    assert [tuple(stage.shape) for stage in stages] == promised(backbone, 3)
    assert backbone.num_features == stages[-1].shape[1]
    assert len({s.name for s in backbone.stage_info}) == len(stages)
    assert all(stage.isfinite().all() for stage in stages)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("skeleton", ["ntu25", "ucla20", "coco17", TRIANGLE], ids=str)
@pytest.mark.parametrize("persons", [1, 2])
def test_any_body_number_of_people_and_channel_count_fits(name, skeleton, persons):
    backbone = make(name, skeleton, persons, frames=8, in_channels=2)
    for mode in (True, False):
        stages = backbone.train(mode)(clips(backbone, n=2))
        assert [tuple(stage.shape) for stage in stages] == promised(backbone, 2)
        assert {stage.shape[-1] for stage in stages} == {get_skeleton(skeleton).num_joints}


@pytest.mark.parametrize("name", EVERY)
def test_gradients_reach_every_parameter(name, settled):
    backbone = settled(name)  # in training, norms cancel the biases before them
    stages = backbone(clips(backbone))
    (stages[-1] * torch.randn_like(stages[-1])).sum().backward()
    silent = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert all(p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.parametrize("name", EVERY)
def test_saved_and_loaded_it_says_the_same(name, settled, tmp_path):
    backbone = settled(name)
    save_file(backbone.state_dict(), tmp_path / "w.safetensors")
    again = make(name).eval()
    again.load_state_dict(load_file(tmp_path / "w.safetensors"), strict=True)
    x = clips(backbone)
    with torch.no_grad():
        for a, b in zip(backbone(x), again(x), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", EVERY)
def test_in_evaluation_a_clip_does_not_depend_on_its_batch(name, settled):
    backbone = settled(name).double()
    x = clips(backbone, n=4).double()
    with torch.no_grad():
        together = backbone(x)[-1].unflatten(0, (4, -1))
        for n in range(4):
            alone = backbone(x[n : n + 1])[-1]
            torch.testing.assert_close(alone, together[n], rtol=1e-9, atol=1e-9)
    scale = together.abs().max()
    assert (together[0] - together[1]).abs().max() > 1e-3 * scale


@pytest.mark.parametrize("name", TINY)
def test_in_evaluation_nothing_is_random_and_nothing_is_learnt(name):
    backbone = make(name).eval()
    state = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    x = clips(backbone)
    with torch.no_grad():
        assert torch.equal(backbone(x)[-1], backbone(x)[-1])
    assert all(torch.equal(state[key], tensor) for key, tensor in backbone.state_dict().items())


@pytest.mark.parametrize("name", TINY)
def test_the_same_seed_gives_the_same_weights(name):
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in make(name).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_it_compiles_and_the_compiled_one_trains_alike(name, settled):
    backbone = settled(name, "coco17", 1, frames=8)
    x = clips(backbone)
    grads, outputs = [], []
    for run in (backbone, torch.compile(backbone, backend="aot_eager")):
        backbone.zero_grad()
        out = run(x)[-1]
        (out * out).sum().backward()
        outputs.append(out.detach())
        grads.append(torch.cat([p.grad.flatten() for p in backbone.parameters()]))
    torch.compiler.reset()
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
    assert (grads[1] - grads[0]).abs().max() <= 1e-3 * grads[0].abs().max()


@pytest.mark.parametrize("name", EVERY)
def test_the_head_fits_and_is_gone_at_inference(name):
    backbone = make(name, persons=2, frames=10)
    levels = (1, 5, 8, 10) if len(backbone.stage_info) == 10 else (1, 2, 3)
    head = FRHead(
        backbone.stage_info, 4, levels=levels, level_weights=(0.1, 0.2, 0.5, 1.0)[-len(levels) :]
    )
    model = Recognizer(backbone, num_classes=4, head=head)
    labels = torch.tensor([0, 1, 2, 3])
    out = model.train()(clips(backbone, n=4))
    loss = model.head(out.stages, labels, out.logits).loss
    assert loss.isfinite() and loss > 0
    loss.backward()
    plain = Recognizer(make(name, persons=2, frames=10), num_classes=4)
    kept = {k: v for k, v in model.state_dict().items() if not k.startswith("head.")}
    plain.load_state_dict(kept, strict=True)
    assert not any("head" in key or "prototype" in key for key in plain.state_dict())


@pytest.mark.parametrize("name", list_backbones())
def test_a_run_accepts_it_and_counts_its_parameters_without_making_them(name):
    levels = [1, 2, 3] if "msg3d" in name else [1, 5, 8, 10]
    changes = {"model.backbone": name, "head.levels": levels}
    changes["head.level_weights"] = [0.1, 0.2, 0.5, 1.0][-len(levels) :]
    config = load_recipe("nw_ucla_joint_frhead", changes)
    check_model(config, NW_UCLA)
    with torch.device("meta"):
        counted = build_recognizer(config, NW_UCLA)
    made = build_recognizer(config, NW_UCLA)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (counted, made)]
    assert sizes[0] == sizes[1] > 10_000


@pytest.mark.parametrize("name", TINY)
def test_bfloat16_autocast_stays_close(name, settled):
    backbone = settled(name)
    x = clips(backbone)
    with torch.no_grad():
        exact = backbone(x)[-1]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = backbone(x)[-1].float()
    assert rough.isfinite().all()
    assert (rough - exact).abs().mean() < 0.25 * exact.abs().mean()


@pytest.mark.gpu
@pytest.mark.parametrize("name", TINY)
def test_the_gpu_gives_the_cpus_maps(name, settled):
    backbone = settled(name, "ntu25", frames=64)
    x = clips(backbone, n=2)
    with torch.no_grad():
        here = backbone(x)
        there = backbone.cuda()(x.cuda())
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=1e-3, atol=1e-3)
