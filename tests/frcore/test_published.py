"""`from_published`: files and state dicts in, what does not fit is named."""

import numpy as np
import pytest
import torch

import frcore
from frcore.backbones import create_backbone
from frcore.backbones.published import FAMILIES
from frcore.errors import UserError
from frcore.recognizer import Recognizer

UCLA = {"skeleton": "ucla20", "num_classes": 10, "num_persons": 1, "num_frames": 52}
NTU = {"skeleton": "ntu25", "num_classes": 120, "num_persons": 2, "num_frames": 64}
RECORDED = [
    ("stgcn", "stgcn_ntu120", NTU),
    ("aagcn", "aagcn_ucla", UCLA),
    ("ctrgcn", "ctrgcn_ntu120", NTU),
    ("tcagcn", "tcagcn_ucla", UCLA),
    ("hdgcn", "hdgcn_com1_ntu120", NTU | {"center": 1}),
]
SMALL = {"skeleton": "ucla20", "num_persons": 1, "num_frames": 8, "width": 4}


@pytest.fixture
def small():
    """A published state dict of a narrow network: what its table of names is split into."""

    def make(family, classes=10, **overrides):
        torch.manual_seed(0)
        model = Recognizer(
            create_backbone(family, **{**SMALL, **overrides}), num_classes=classes
        ).eval()
        expected = FAMILIES[family](model.state_dict()).expected()
        return {key: tensor.clone() for key, tensor in expected.items()}, model

    return make


def load(family, state, classes=10, **overrides):
    return frcore.from_published(family, state, num_classes=classes, **{**SMALL, **overrides})


def refused(*arguments, **overrides) -> str:
    with pytest.raises(UserError) as error:
        load(*arguments, **overrides)
    return str(error.value)


@pytest.mark.parametrize(("family", "name", "sizes"), RECORDED)
def test_a_file_with_a_head_gives_the_recorded_logits(
    family, name, sizes, published_state, recorded, values, difference, tmp_path, caplog
):
    state = {f"module.{key}": tensor for key, tensor in published_state(name).items()}
    state["module.ren_low.spatio_cl_net.cl_fc.weight"] = torch.ones(256, 250)
    torch.save({"epoch": 65, "model": state}, tmp_path / "weights.pt")
    model = frcore.from_published(family, tmp_path / "weights.pt", **sizes)
    shape = (2, 3, sizes["num_frames"], model.backbone.skeleton.num_joints, sizes["num_persons"])
    clips = values.uniform(f"input/{name.rsplit('_', 1)[1]}", int(np.prod(shape))).reshape(shape)
    with torch.no_grad():
        logits = model(torch.from_numpy(clips).float()).logits  # in evaluation mode as it comes
    assert difference(logits, recorded(name)["logits"]) < 1e-5
    said = [record.getMessage() for record in caplog.records]
    ours = "Ignored 1 key (ren_low.spatio_cl_net.cl_fc): the FR Head's"
    dead = "Ignored 60 keys (*.gcn1.convs.*.conv3): never called"
    again = "Ignored 270 keys (*.gcn1.conv_d.*.*, "
    assert any(ours in text for text in said)
    assert any(dead in text for text in said) == (family == "tcagcn")
    assert any(again in text for text in said) == (family == "hdgcn")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_files_and_wrappers_give_the_same_as_the_state_dict(suffix, small, tmp_path):
    from safetensors.torch import save_file

    state, _ = small("ctrgcn")
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    else:
        torch.save({"state_dict": {f"module.backbone.{k}": t for k, t in state.items()}}, path)
    plain, read = load("ctrgcn", state).state_dict(), load("ctrgcn", str(path)).state_dict()
    assert all(torch.equal(plain[key], read[key]) for key in plain)


def test_half_precision_becomes_float32_and_torchs_random_numbers_are_left_alone(small):
    state, model = small("stgcn")
    half = {k: t.half() if t.is_floating_point() else t for k, t in state.items()}
    before = torch.get_rng_state()
    loaded = load("stgcn", half)
    assert torch.equal(torch.get_rng_state(), before)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(loaded.classifier.weight, model.classifier.weight, atol=1e-3, rtol=0)


# ---- what does not fit ---------------------------------------------------------------------------


def test_another_number_of_classes_is_named_with_both_shapes(small):
    state, _ = small("ctrgcn", classes=60)
    text = refused("ctrgcn", state, classes=120)
    assert "fc.weight: (60, 16) in the file, (120, 16) in ctrgcn for 120 classes" in text
    assert "fc.bias: (60,) in the file, (120,) in ctrgcn for 120 classes" in text
    assert text.count(" in the file") == 2 and "num_classes=60" in text


def test_missing_and_unexpected_keys_are_named(small):
    state, _ = small("ctrgcn")
    del state["l7.gcn1.bn.running_mean"]
    state["l11.gcn1.alpha"] = torch.ones(1)
    text = refused("ctrgcn", state)
    assert "l7.gcn1.bn.running_mean: missing in the file, (8,) in ctrgcn for 10 classes" in text
    assert "l11.gcn1.alpha: (1,) in the file, not in ctrgcn for 10 classes" in text
    assert "more" not in text


def test_another_body_names_ten_keys_and_counts_the_rest(small):
    state, _ = small("aagcn", skeleton="ntu25", num_persons=2)
    text = refused("aagcn", state)
    assert "data_bn.weight: (150,) in the file, (60,) in aagcn for 10 classes" in text
    assert "Its input norm has 150 = persons x joints x channels; here 1 x 20 x 3." in text
    differs = 4 + 10 * 2  # the input norm; graphs and kernels over joints of ten blocks
    assert text.count(" in the file,") == 10 and f"and {differs - 10} more" in text


@pytest.mark.parametrize(
    ("theirs", "ours"), [("tcagcn", "ctrgcn"), ("ctrgcn", "hdgcn"), ("aagcn", "stgcn")]
)
def test_the_family_that_the_keys_look_like_is_suggested(theirs, ours, small):
    state, _ = small(theirs)
    assert f"look like those of '{theirs}'" in refused(ours, state)


def test_attention_that_is_missing_or_too_much_is_said(small):
    plain, _ = small("aagcn", attention=False)
    assert "no attention (conv_sa, conv_ta, fc1c, fc2c): attention=False" in refused("aagcn", plain)
    load("aagcn", plain, attention=False)
    whole, _ = small("aagcn")
    text = refused("aagcn", whole, attention=False)
    assert "l1.gcn1.conv_sa.weight" in text and "leave attention=False out" in text


def test_the_first_2s_agcn_is_told_from_its_successor(small):
    state, _ = small("aagcn", attention=False)
    first = {key: tensor for key, tensor in state.items() if not key.endswith(".alpha")}
    text = refused("aagcn", first, attention=False)
    assert "l1.gcn1.alpha: missing in the file, (1,) in aagcn" in text
    assert "those of the 2s-AGCN of CVPR 2019. It has no alpha and a softmax" in text


def test_levels_of_another_centre_are_told_and_a_centre_not_given_is_warned_of(small, caplog):
    state, _ = small("hdgcn", center=2)
    text = refused("hdgcn", state, center=3)
    assert "l1.gcn1.PA: (5, 3, 20, 20) in the file, (6, 3, 20, 20) in hdgcn" in text
    assert "Its levels make 5 graphs, as with center=2" in text
    load("hdgcn", state, center=2)
    assert caplog.records == []
    load("hdgcn", small("hdgcn", center=3)[0])
    assert "do not say their centre; center=3" in caplog.text


def test_keys_of_no_family_are_said_to_be_so():
    text = refused("ctrgcn", {"conv1.weight": torch.ones(3)})
    assert "conv1.weight: (3,) in the file, not in ctrgcn" in text
    assert "of no family that is read: stgcn, aagcn, ctrgcn, tcagcn, hdgcn" in text
    theirs = {"st_gcn_networks.0.gcn.conv.weight": torch.ones(3)}
    assert "the ST-GCN of AAAI 2018" in refused("stgcn", theirs)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t * float("nan"), "NaN or infinity"),
        (lambda t: t.double() * 1e300, "NaN or infinity"),
        (lambda t: t.long(), "int64"),
        (lambda t: t.to(torch.complex64), "complex64"),
        (lambda t: t.to_sparse(), "no plain tensor"),
        (lambda t: t.to("meta"), "no plain tensor"),
    ],
)
def test_weights_that_are_no_finite_numbers_are_refused(change, said, small):
    state, _ = small("stgcn")
    state["l1.gcn1.PA"] = change(state["l1.gcn1.PA"] + 1)
    assert f"l1.gcn1.PA: {said}" in refused("stgcn", state)


def test_unknown_names_and_sizes_are_refused(small):
    state, _ = small("ctrgcn")
    assert "Did you mean 'ctrgcn'? Available: stgcn, aagcn" in refused("ctr-gcn", state)
    assert "with published weights 'stgcn_2018'" in refused("stgcn_2018", state)
    assert "override of backbone 'ctrgcn': 'centre'" in refused("ctrgcn", state, centre=1)
    assert "num_classes must be a whole number" in refused("ctrgcn", state, classes=0)
