"""Parity with the published models: the same weights give the same outputs (tests/golden)."""

import numpy as np
import pytest
import torch

from frcore.backbones import StageInfo, create_backbone
from frcore.backbones.published import from_ctrgcn
from frcore.contrast import batch_outcomes
from frcore.fr_head import FRHead, PrototypeContrast
from frcore.recognizer import Recognizer

# list of shapes -> (our backbone, importer, its layout)
LAYOUTS = {
    "ntu120": {"skeleton": "ntu25", "num_persons": 2, "num_frames": 64, "num_classes": 120},
    "ucla": {"skeleton": "ucla20", "num_persons": 1, "num_frames": 52, "num_classes": 10},
}
MODELS = {
    "ctrgcn_ntu120": ("ctrgcn", from_ctrgcn, "ntu120"),
    "ctrgcn_ucla": ("ctrgcn", from_ctrgcn, "ucla"),
}


def build(name: str) -> Recognizer:
    backbone, _, layout = MODELS[name]
    fields = dict(LAYOUTS[layout])
    classes = fields.pop("num_classes")
    return Recognizer(create_backbone(backbone, **fields), num_classes=classes)


@pytest.fixture(scope="module")
def loaded(published_state):
    """A recogniser with the published weights, and which published keys were used."""

    def load(name: str) -> tuple[Recognizer, set[str], set[str]]:
        state = published_state(name)
        ours, used = MODELS[name][1](state)
        model = build(name)
        model.load_state_dict(ours, strict=True)
        return model, used, set(state)

    return load


@pytest.fixture(scope="module")
def clips(values):
    x = values.uniform("input/ntu120", 2 * 3 * 64 * 25 * 2).reshape(2, 3, 64, 25, 2)
    return torch.from_numpy(x.astype(np.float32))


@pytest.mark.parametrize("name", MODELS)
def test_every_published_key_is_used_and_fills_our_model(name, loaded):
    _, used, published = loaded(name)
    assert used == published


def test_a_published_state_without_a_key_is_refused(published_state):
    state = published_state("ctrgcn_ntu120")
    del state["l7.gcn1.convs.1.conv4.weight"]
    with pytest.raises(KeyError, match=r"l7\.gcn1\.convs\.1\.conv4\.weight"):
        from_ctrgcn(state)


def test_ctrgcn_gives_the_recorded_outputs(loaded, clips, recorded, difference):
    golden = recorded("ctrgcn_ntu120")
    model, _, _ = loaded("ctrgcn_ntu120")
    with torch.no_grad():
        out = model.eval()(clips)
        train_logits = model.train()(clips).logits
    assert difference(out.logits, golden["logits"]) < 1e-5
    assert difference(train_logits, golden["logits_train_mode"]) < 1e-4
    for block in (1, 5, 8, 10):
        tap = out.stages[block - 1]
        assert tap.shape == tuple(golden[f"tap{block}_shape"])
        assert difference(tap.mean((2, 3)), golden[f"tap{block}_channel_mean"]) < 1e-5
        sample = tap.flatten()[:: tap.numel() // 512][:512]
        assert difference(sample, golden[f"tap{block}_sample"]) < 1e-5


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
