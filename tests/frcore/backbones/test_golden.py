"""Parity with the published models: the same weights give the same outputs (tests/golden)."""

import numpy as np
import pytest
import torch

from frcore.backbones import StageInfo, create_backbone
from frcore.backbones.published import FAMILIES, Translation
from frcore.backbones.published_pyskl import PYSKL
from frcore.contrast import batch_outcomes
from frcore.fr_head import FRHead, PrototypeContrast
from frcore.recognizer import Recognizer

LAYOUTS = {
    "ntu120": {"skeleton": "ntu25", "num_persons": 2, "num_frames": 64},
    "ucla": {"skeleton": "ucla20", "num_persons": 1, "num_frames": 52},
}
CLASSES = {"ntu120": 120, "ucla": 10}
OVERRIDES = {"hdgcn_com1_ntu120": {"center": 1}, "hdgcn_com21_ntu120": {"center": 21}}
# published parameters that are parts of no function: HD-GCN's second names, TCA-GCN's conv3
IGNORED = {"hdgcn": 270, "tcagcn": 60}
PUBLISHED = [
    *("stgcn_ntu120", "stgcn_ucla", "aagcn_ntu120", "aagcn_ucla", "ctrgcn_ntu120", "ctrgcn_ucla"),
    *("tcagcn_ntu120", "tcagcn_ucla", "hdgcn_com1_ntu120", "hdgcn_com21_ntu120"),
]
RECORDED = ["stgcn_ntu120", "aagcn_ucla", "ctrgcn_ntu120", "tcagcn_ucla", "hdgcn_com1_ntu120"]


def layout_of(name: str) -> str:
    return name.rsplit("_", 1)[1]


def build(name: str, **overrides: int) -> Recognizer:
    layout = layout_of(name)
    fields = {**LAYOUTS[layout], **OVERRIDES.get(name, {}), **overrides}
    backbone = create_backbone(name.split("_")[0], **fields)
    return Recognizer(backbone, num_classes=CLASSES[layout])


@pytest.fixture(scope="module")
def loaded(published_state):
    """A recogniser with the published weights, how they were translated, and their keys."""

    def load(name: str, **overrides: int) -> tuple[Recognizer, Translation, set[str]]:
        state = published_state(name)
        model = build(name, **overrides)
        translation = FAMILIES[name.split("_")[0]](model.state_dict()).translate(state)
        model.load_state_dict(translation.ours, strict=True)
        return model, translation, set(state)

    return load


@pytest.fixture(scope="module")
def clips(values):
    """The recorded input of a layout, of n clips."""

    def made(name: str, n: int = 2) -> torch.Tensor:
        layout = layout_of(name)
        frames, persons = LAYOUTS[layout]["num_frames"], LAYOUTS[layout]["num_persons"]
        shape = (n, 3, frames, {"ntu120": 25, "ucla": 20}[layout], persons)
        x = values.uniform(f"input/{layout}", int(np.prod(shape))).reshape(shape)
        return torch.from_numpy(x.astype(np.float32))

    return made


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_key_is_used_or_ignored_and_fills_our_model(name, loaded):
    _, translation, published = loaded(name)
    ignored = set(translation.ignored)
    assert translation.used | ignored == published
    assert not translation.used & ignored
    assert len(ignored) == IGNORED.get(name.split("_")[0], 0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_shapes_are_told_from_our_model(name, published_state):
    state = published_state(name)
    names = FAMILIES[name.split("_")[0]](build(name).state_dict())
    ignored, expected = names.ignored(state), names.expected()
    assert set(names.sources) == set(names.ours)
    assert {key: tensor.shape for key, tensor in expected.items()} == {
        key: tensor.shape for key, tensor in state.items() if key not in ignored
    }


@pytest.mark.parametrize("table", [*FAMILIES.values(), *PYSKL.values()])
def test_what_is_split_into_published_tensors_is_joined_to_the_same(table):
    family = table.__name__
    model = Recognizer(create_backbone(family, **LAYOUTS["ucla"]), num_classes=10)
    ours = {
        key: torch.arange(tensor.numel(), dtype=torch.float64).view(tensor.shape)
        for key, tensor in model.state_dict().items()
    }
    names = table(ours)
    again = names.translate(names.expected()).ours
    assert again.keys() == ours.keys()
    assert all(torch.equal(again[key], tensor) for key, tensor in ours.items())


@pytest.mark.parametrize("name", RECORDED)
def test_outputs_are_those_recorded(name, loaded, clips, recorded, difference):
    golden = recorded(name)
    model, _, _ = loaded(name)
    with torch.no_grad():
        out = model.eval()(clips(name))
    assert difference(out.logits, golden["logits"]) < 1e-5
    for block in (1, 5, 8, 10):
        tap = out.stages[block - 1]
        assert tap.shape == tuple(golden[f"tap{block}_shape"])
        assert difference(tap.mean((2, 3)), golden[f"tap{block}_channel_mean"]) < 1e-5
        sample = tap.flatten()[:: tap.numel() // 512][:512]
        assert difference(sample, golden[f"tap{block}_sample"]) < 1e-5


@pytest.mark.parametrize("name", RECORDED)
def test_outputs_in_training_are_those_recorded(name, loaded, clips, recorded, difference):
    model, _, _ = loaded(name)
    # TCA-GCN's gates take the statistics of one value a person: four clips, where two are ill-posed
    key, n = ("logits_train_mode_n4", 4) if "tcagcn" in name else ("logits_train_mode", 2)
    with torch.no_grad():
        logits = model.train()(clips(name, n)).logits
    assert difference(logits, recorded(name)[key]) < 1e-4


def test_another_centre_gives_other_outputs_in_training(loaded, clips, recorded, difference):
    model, _, _ = loaded("hdgcn_com1_ntu120", center=2)
    with torch.no_grad():
        logits = model.train()(clips("hdgcn_com1_ntu120")).logits
    assert difference(logits, recorded("hdgcn_com1_ntu120")["logits_train_mode"]) > 1e-3


# ---- the contrastive loss ------------------------------------------------------------------------


def head_batch(values, prefix, step, shape):
    """Features of one recorded step, with labels and logits (README of tests/golden)."""
    features = values.uniform(f"{prefix}/feature/{step}", int(np.prod(shape))).reshape(shape)
    labels = (np.arange(32) * 7 + step * 3) % 10
    logits = 3 * values.uniform(f"head/logits/{step}", 320).reshape(32, 10)
    logits[np.arange(32), labels] += 1
    return (
        torch.from_numpy(features.astype(np.float32)).requires_grad_(),
        torch.from_numpy(labels),
        torch.from_numpy(logits.astype(np.float32)),
    )


def prototypes(values, name):
    return torch.from_numpy(values.uniform(name, 256 * 10).reshape(256, 10).T.astype(np.float32))


@pytest.mark.parametrize(("name", "options"), [("head_v1", {}), ("head_no_fp", {"use_fp": False})])
def test_contrast_gives_the_recorded_steps(name, options, values, recorded, difference):
    golden = recorded(name)
    branch = PrototypeContrast(256, 10, **options)
    branch.load_state_dict(
        {
            "project.weight": torch.from_numpy(values.fill("head/cl_fc.weight", (256, 256))),
            "project.bias": torch.from_numpy(values.fill("head/cl_fc.bias", (256,))),
            "prototypes": prototypes(values, "head/prototypes"),
            "seen": torch.ones(10, dtype=torch.bool),
        }
    )
    for step in (0, 1):
        features, labels, logits = head_batch(values, "head", step, (32, 256))
        branch.zero_grad()
        loss = branch(features, labels, logits)
        loss.backward()
        assert difference(loss, golden[f"loss{step}"]) < 1e-5
        assert difference(features.grad, golden[f"grad_feature{step}"]) < 1e-5
        weight = golden[f"grad_cl_fc_weight{step}"]
        assert difference(branch.project.weight.grad, weight) < 1e-5
        assert difference(branch.prototypes.t(), golden[f"prototypes{step}"]) < 1e-6
        tp = batch_outcomes(labels, logits).tp.sum().item()
        assert [tp, 32 - tp] == golden[f"counts{step}"].tolist()


def test_a_spatial_and_temporal_head_gives_the_recorded_steps(values, recorded, difference):
    golden = recorded("st_head_v1")
    head = FRHead([StageInfo("fin", 256, 13, 20)], 10, levels=(1,), level_weights=(1.0,))
    shapes = {
        "spatio_cl_net.cl_fc": (256, 240),
        "tempor_cl_net.cl_fc": (256, 247),
        "spatio_squeeze.0": (12, 256, 1, 1),
        "tempor_squeeze.0": (19, 256, 1, 1),
        "spatio_squeeze.1": (12,),
        "tempor_squeeze.1": (19,),
    }
    names = {"cl_net.cl_fc": "contrast.fin_{}.project", "squeeze.0": "squeeze.fin_{}.conv"}
    names["squeeze.1"] = "squeeze.fin_{}.norm"
    state = head.state_dict()
    for key, shape in shapes.items():
        short, rest = key.split("_", 1)
        branch = {"spatio": "spatial", "tempor": "temporal"}[short]
        for leaf, size in (("weight", shape), ("bias", shape[:1])):
            array = torch.from_numpy(values.fill(f"st_head/{key}.{leaf}", size))
            array = array.squeeze(-1) if array.dim() == 4 else array  # ours runs on one axis
            state[f"{names[rest].format(branch)}.{leaf}"] = array
        start = prototypes(values, f"st_head/prototypes/{branch}")
        state[f"contrast.fin_{branch}.prototypes"] = start
    head.load_state_dict(state, strict=True)
    for step in (0, 1):
        maps, labels, logits = head_batch(values, "st_head", step, (32, 256, 13, 20))
        out = head([maps], labels, logits)
        assert difference(out.loss, golden[f"loss{step}"]) < 1e-5
        for branch in ("spatial", "temporal"):
            ours = head.prototypes(f"fin.{branch}").t()
            assert difference(ours, golden[f"prototypes_{branch}{step}"]) < 1e-5
