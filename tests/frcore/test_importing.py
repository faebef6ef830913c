"""`import_weights`: a checkpoint that predicts as the weights do, and says where it comes from."""

import hashlib

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import frcore
import frviz
from frcore import importing
from frcore.backbones import create_backbone
from frcore.backbones.published import FAMILIES
from frcore.backbones.published_pyskl import PYSKL
from frcore.checkpoint import read_metadata, save_checkpoint
from frcore.cli import app
from frcore.errors import UserError
from frcore.files import WriteError
from frcore.recognizer import Recognizer
from frcore.splits import load_split

WIDTH = {"model.overrides.width": 8}


@pytest.fixture
def weights(tmp_path):
    """A file of published names, of a narrow network for `tiny_store`; with an FR Head's key."""

    def write(family="ctrgcn", table=None, classes=5, **overrides):
        torch.manual_seed(1)
        sizes = {"skeleton": "ntu25", "num_persons": 1, "num_frames": 64, "width": 8}
        network = create_backbone(family, **{**sizes, **overrides})
        model = Recognizer(network, num_classes=classes).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # fresh graph units are all but silent
                parameter.add_(0.1 * torch.randn_like(parameter))
        names = (table or FAMILIES)[family](model.state_dict())
        state = {"ren_fin.spatio_squeeze.0.bias": torch.ones(2), **names.expected()}
        path = tmp_path / f"{family}.pt"
        torch.save(state if table is None else names.expected(), path)
        return path, model

    return write


def imported(path, out, **changes):
    given = {"backbone": path.stem, "benchmark": "tiny", **changes}
    given["changes"] = {**WIDTH, **given.get("changes", {})}
    return frcore.import_weights(path, out, **given)


@pytest.mark.parametrize(
    ("family", "table", "overrides"),
    [
        ("ctrgcn", None, {}),
        ("ctrgcn", PYSKL, {"temporal_relu": True}),
        ("aagcn", None, {"attention": False}),
        ("hdgcn", None, {"center": 2}),
    ],
)
def test_predictions_are_those_of_the_weights(
    family, table, overrides, weights, tiny_store, tmp_path
):
    path, model = weights(family, table, **overrides)
    given = {f"model.overrides.{k}": v for k, v in overrides.items() if k != "temporal_relu"}
    made = imported(path, tmp_path / "made" / "ckpt.safetensors", changes=given)
    predictions = frcore.predict(made.path)
    config = frcore.load_recipe(made.config)
    clips = load_split(tiny_store, "test", config.data, torch.device("cpu"))
    with torch.no_grad():
        logits = model(clips(torch.arange(20))).logits
    np.testing.assert_allclose(predictions.logits, logits, rtol=1e-4, atol=1e-4)
    assert (logits[0] - logits[1]).abs().max() > 1e-2  # the clips are told apart


def test_what_predictions_and_comparisons_say_of_it(weights, trained, tiny_store, tmp_path):
    path, _ = weights()
    made = imported(path, tmp_path / "ckpt.safetensors", changes={"data.transform.frames": 16})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = read_metadata(made.path)
    assert kept["imported"]["sha256"] == digest and kept["imported"]["file"] == "ctrgcn.pt"
    assert kept["fingerprint"] == tiny_store.fingerprint
    assert kept["config"]["data"]["duplicates"] == "keep"
    said = frcore.predict(made.path).metadata
    assert said["source"] == f"ctrgcn.pt (imported, sha256 {digest[:12]})"
    assert (said["model"], said["run"]) == ("ctrgcn (imported)", "ckpt")
    assert not {"epoch", "select", "seed", "duplicates", "config"} & set(said)  # not known
    compared = frviz.compare(made.path, trained)
    assert compared.names == ("ctrgcn (imported)", "ctrgcn_tiny+fr")
    page = compared.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert digest[:12] in page


def test_the_command_says_what_it_used_and_what_it_assumed(weights, tiny_store, tmp_path):
    path, _ = weights("hdgcn", center=21)
    out = tmp_path / "ckpt.safetensors"
    changes = ("--set", "model.overrides.width=8", "--set", "data.transform.frames=48")
    arguments = ["import-weights", path, "--backbone", "hdgcn", "--benchmark", "tiny", "--out", out]
    result = CliRunner().invoke(app, [str(a) for a in [*arguments, "--stream", "bone", *changes]])
    assert result.exit_code == 0, result.output
    for text in (
        f"{out}: hdgcn for tiny, from hdgcn.pt (imported, sha256 ",
        "Ignored 1 key (ren_fin.spatio_squeeze.*): the FR Head's",
        "Assumed (defaults; no recipe is for it)",
        "  data.stream=bone\n",
        "  data.transform.frames=48\n",
        "  data.protocol=default\n",
        "  model.overrides.center=21\n",  # which nothing in the file says
        f"Next: frcore predict {out}",
    ):
        assert text in result.stdout
    assert read_metadata(out)["config"]["model"]["overrides"] == {"width": 8, "center": 21}


def test_preprocessing_comes_from_the_recipe_of_the_joint_stream():
    assert importing._recipe_of("nw_ucla", "xview") == "nw_ucla_joint"
    assert importing._recipe_of("synthetic", "xsub") == "synthetic_ctrgcn"
    assert importing._recipe_of("ntu120", "xsub") == "ntu120_xsub_joint"  # not xset's
    assert importing._recipe_of("tiny", "default") is None


def test_another_recipe_can_be_named(weights, tiny_store, tmp_path):
    path, _ = weights()
    made = imported(path, tmp_path / "ckpt.safetensors", recipe="nw_ucla_joint_quick")
    transform = made.config.data.transform
    assert (transform.normalize, transform.frames) == ("minmax", 32)
    assert "Assumed (recipe nw_ucla_joint_quick)" in str(made)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"benchmark": "nw_ucla"}, "frcore data prepare nw_ucla --source"),
        ({"benchmark": "ntu60"}, "No store 'ntu60'"),
        ({"backbone": "tcagcn"}, "Its keys look like those of 'ctrgcn'"),
        ({"backbone": "ctrgc"}, "Did you mean 'ctrgcn'?"),
        ({"changes": {"optim.lr": 0.1}}, "optim.lr has no say in imported weights"),
        ({"changes": {"head": {}}}, "head has no say"),
        ({"changes": {"model.backbone": "aagcn"}}, "model.backbone has no say"),
        ({"changes": {"data.strem": "bone"}}, "Did you mean 'stream'?"),
        ({"changes": {"data.protocol": "xsub"}}, "protocol of tiny 'xsub'"),
        ({"changes": {"data.persons": 3}}, "has at most 1"),
        ({"changes": {"model.overrides.center": 1}}, "override of backbone 'ctrgcn': 'center'"),
        ({"recipe": "nw_ucla_jont"}, "Did you mean 'nw_ucla_joint' or "),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(changes, said, weights, tiny_store, tmp_path):
    path, _ = weights()
    out = tmp_path / "ckpt.safetensors"
    with pytest.raises(UserError) as error:
        imported(path, out, **changes)
    assert said in str(error.value)
    assert not out.exists()


def test_fault_04_a_folder_that_cannot_be_written_is_said_before_weights_are_read(
    weights, tiny_store, read_only, monkeypatch
):
    monkeypatch.setattr(importing, "read_published", None)
    with pytest.raises(WriteError, match="Cannot write .*w.safetensors: Read-only"):
        imported(weights()[0], read_only / "w.safetensors")


def test_another_number_of_classes_than_the_benchmarks(weights, tiny_store, tmp_path):
    path, _ = weights(classes=60)
    with pytest.raises(UserError, match=r"fc.bias: \(60,\) in the file, \(5,\) in ctrgcn for 5"):
        imported(path, tmp_path / "ckpt.safetensors")


def test_only_imported_weights_are_replaced(weights, tiny_store, tmp_path):
    path, _ = weights()
    out = tmp_path / "ckpt.safetensors"
    for _ in range(2):
        imported(path, out)
    save_checkpoint(out, {"model.a": torch.ones(1)}, {"format": 1})
    with pytest.raises(UserError, match="there already and holds no imported weights"):
        imported(path, out)
    for name in ("ckpt.pt", "last.safetensors"):
        with pytest.raises(UserError, match=r"ending in \.safetensors"):
            imported(path, tmp_path / name)
