"""`predict`: equal to a forward pass by hand, without the head unless asked, kept by content."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

import frcore
from frcore import inference, recognizer
from frcore.checkpoint import (
    LAST,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from frcore.config import load_recipe
from frcore.data import open_store
from frcore.errors import UserError
from frcore.inference import load_recognizer
from frcore.predictions import Predictions
from frcore.recognizer import build_recognizer
from frcore.run import Run
from frcore.skeleton import UCLA20
from frcore.splits import load_split

SPACES = ("backbone", "fin.spatial", "mid.temporal")


@pytest.fixture
def run(trained, tmp_path):
    """A copy of `trained`, without kept predictions."""
    shutil.copytree(trained.path, tmp_path / "run", ignore=shutil.ignore_patterns("predictions"))
    return Run.open(tmp_path / "run")


@pytest.fixture
def passes(monkeypatch):
    """Forward passes over a split that `predict` makes."""
    made, forward = [], inference.forward_split

    def counted(*args, **kwargs):
        made.append(kwargs)
        return forward(*args, **kwargs)

    monkeypatch.setattr(inference, "forward_split", counted)
    return made


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_predictions_are_those_of_a_forward_pass_by_hand(split, trained, tiny_store):
    prediction = frcore.predict(trained, split=split, spaces=SPACES)
    config, weights = load_recipe(trained.config), load_checkpoint(trained.checkpoint())
    model = build_recognizer(config, tiny_store.benchmark)
    model.load_state_dict(weights.part("model"))
    model.eval()
    rows = tiny_store.split(split)
    pipeline = load_split(tiny_store, split, config.data, torch.device("cpu"))
    with torch.no_grad():
        out = model(pipeline(torch.arange(len(rows))))
        features = {"backbone": out.embedding}
        for space in SPACES[1:]:
            features[space] = model.head.project(out.stages, len(rows), space)
    assert prediction.sample_ids == tuple(rows["sample_id"])
    assert prediction.labels.tolist() == rows["label"].tolist()
    assert prediction.class_names == tiny_store.benchmark.class_names
    np.testing.assert_allclose(prediction.logits, out.logits, rtol=1e-4, atol=1e-4)
    assert tuple(prediction.features) == SPACES
    for space, expected in features.items():
        np.testing.assert_allclose(prediction.features[space], expected, rtol=1e-4, atol=1e-4)


def test_prototypes_are_the_buffers_of_the_checkpoint(trained):
    prediction = frcore.predict(trained, spaces=("fin.spatial", "mid.temporal"))
    saved = load_checkpoint(trained.checkpoint()).part("model")
    assert set(prediction.prototypes) == {"fin.spatial", "mid.temporal"}
    for space, prototypes in prediction.prototypes.items():
        assert prototypes.shape == (5, 256) and prediction.features[space].shape == (20, 256)
        buffer = saved[f"head.contrast.{space.replace('.', '_')}.prototypes"]
        np.testing.assert_array_equal(prototypes, buffer.numpy())


def test_metadata_says_where_predictions_come_from(trained, tiny_store):
    found = frcore.predict(trained).metadata
    expected = {
        "benchmark": "tiny",
        "split": "test",
        "protocol": "default",
        "stream": "joint",
        "model": "ctrgcn_tiny+fr",
        "checkpoint": load_checkpoint(trained.checkpoint()).sha256,
        "fingerprint": tiny_store.fingerprint,
        "epoch": 3,
        "select": "last",
        "run": "tiny_run",
        "seed": 0,
    }
    assert {k: found[k] for k in expected} == expected


def test_the_configuration_of_predictions_is_the_same_for_seeds_of_one_model(run):
    checkpoint, told = load_checkpoint(run.checkpoint()), []
    for change in ({}, {"seed": 1}, {"optim": {"lr": 0.2}}):
        metadata = checkpoint.metadata | {"config": checkpoint.metadata["config"] | change}
        save_checkpoint(run.path / LAST, checkpoint.tensors, metadata)
        told.append(frcore.predict(run).metadata["config"])
    assert told[0] == told[1] != told[2]


def test_the_head_is_not_built_unless_one_of_its_spaces_is_asked_for(run, monkeypatch):
    class Head:
        def __init__(self, *args, **kwargs):
            raise AssertionError("the head was built")

    monkeypatch.setattr(recognizer, "FRHead", Head)
    assert set(frcore.predict(run).features) == {"backbone"}
    assert frcore.predict(run, spaces=()).features == {}
    model, *_ = load_recognizer(run.checkpoint())
    assert model.head is None and not model.training
    with pytest.raises(AssertionError, match="the head was built"):
        frcore.predict(run, spaces=("fin.spatial",))


@pytest.mark.parametrize("how", [lambda r: r, lambda r: r.path, lambda r: str(r.checkpoint())])
def test_a_run_its_directory_and_its_checkpoint_give_the_same(how, trained):
    np.testing.assert_array_equal(
        frcore.predict(how(trained)).logits, frcore.predict(trained).logits
    )


def test_batch_size_changes_nothing_beyond_rounding(run, passes):
    whole = frcore.predict(run, batch_size=64)
    shutil.rmtree(run.path / "predictions")
    pieces = frcore.predict(run, batch_size=3)
    assert len(passes) == 2
    np.testing.assert_allclose(pieces.logits, whole.logits, rtol=1e-4, atol=1e-4)


def test_a_damaged_checkpoint_is_refused_and_the_earlier_one_named(run):
    path = run.checkpoint()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="damaged.*previous.safetensors holds an earlier"):
        frcore.predict(run)
    assert frcore.predict(run.checkpoint("previous")).metadata["epoch"] == 2
    run.checkpoint("previous").unlink()
    with pytest.raises(CheckpointError, match="damaged"):
        frcore.predict(run)


# ---- kept by content -----------------------------------------------------------------------------


def test_predictions_are_kept_by_checkpoint_data_split_and_spaces(run, passes, make_store):
    first = frcore.predict(run, spaces=SPACES)
    again = frcore.predict(run, spaces=SPACES)
    assert len(passes) == 1 and again.metadata == first.metadata
    for name in ("logits", "labels", "copies"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    for space in SPACES:
        np.testing.assert_array_equal(first.features[space], again.features[space])

    others = [
        (run, {}),
        (run, {"split": "val"}),
        (run, {"data": make_store("another", seed=3)}),
        (run.checkpoint("best"), {}),
        (run.checkpoint("previous"), {}),
    ]
    for _ in range(2):
        for source, options in others:
            frcore.predict(source, **options)
        assert len(passes) == 6
    checkpoint = load_checkpoint(run.checkpoint())
    shifted = checkpoint.tensors["model.classifier.bias"] + torch.tensor([9.0, 0, 0, 0, 0])
    tensors = checkpoint.tensors | {"model.classifier.bias": shifted}
    save_checkpoint(run.checkpoint(), tensors, checkpoint.metadata)
    changed = frcore.predict(run, spaces=SPACES)
    assert len(passes) == 7
    np.testing.assert_allclose(changed.logits[:, 0], first.logits[:, 0] + 9, rtol=1e-5, atol=1e-4)


def test_fault_25_kept_predictions_that_are_damaged_or_another_s_are_made_again(
    run, passes, caplog
):
    whole = frcore.predict(run)
    (kept,) = (run.path / "predictions").glob("test-*.npz")
    data = kept.read_bytes()
    for damaged in (data[: len(data) // 2], b"", data[:-200] + bytes(200)):
        kept.write_bytes(damaged)
        np.testing.assert_array_equal(frcore.predict(run).logits, whole.logits)
        assert kept.read_bytes() == data
    assert len(passes) == 4 and caplog.text.count("made again") == 3
    frcore.predict(run, split="val").save(kept)
    assert frcore.predict(run).sample_ids == whole.sample_ids
    assert "another checkpoint or store" in caplog.text


def test_predictions_that_cannot_be_kept_are_returned_all_the_same(run, caplog):
    (run.path / "predictions").touch()  # no folder
    assert len(frcore.predict(run)) == 20 and "are not kept" in caplog.text


def test_where_the_data_are_not_kept_predictions_serve(run, passes, monkeypatch, caplog):
    """Trained where the data are, analysed where they are not; also those of another device."""
    whole = frcore.predict(run, spaces=SPACES)
    monkeypatch.setenv("FRCORE_DATA", str(run.path))  # no store is here
    np.testing.assert_array_equal(frcore.predict(run, spaces=SPACES).logits, whole.logits)
    with pytest.raises(UserError, match="tiny"):
        frcore.predict(run, split="val")
    (kept,) = (run.path / "predictions").glob("test-*.npz")
    other = kept.rename(kept.with_name("test-0.npz"))  # as another version's
    found = frcore.predict(run)  # one of its spaces
    np.testing.assert_array_equal(found.copies, whole.copies)
    with pytest.raises(UserError, match="tiny"):
        frcore.predict(run, spaces=("low.spatial",))
    with pytest.raises(UserError, match="tiny"):
        frcore.predict(run.checkpoint("previous"))  # which they are not of
    other.write_bytes(b"no archive")
    with pytest.raises(UserError, match="tiny"):
        frcore.predict(run)
    assert "cannot be used" in caplog.text and len(passes) == 1


# ---- other data, other checkpoints ---------------------------------------------------------------


def test_another_store_of_the_same_classes_and_body_is_predicted(run, make_store):
    store = make_store("more", seed=5)
    for data in (store, "more", store.path):
        prediction = frcore.predict(run, data=data)
        assert isinstance(prediction, Predictions)
        assert prediction.metadata["benchmark"] == "more"
        assert prediction.metadata["fingerprint"] == store.fingerprint


def test_copies_are_those_of_the_checkpoints_training_clips_in_another_store_too(
    run, tiny_store, monkeypatch, caplog
):
    train, test = (tiny_store.split(split) for split in ("train", "test"))
    rows = [*train.index[:2], *test.index[:3], train.index[0]]
    other = frcore.data.from_arrays(
        "mixed",
        [tiny_store.clip_at(row).transpose(0, 2, 3, 1) for row in rows],
        tiny_store.samples["label"].to_numpy()[rows],
        split=["test"] * 5 + ["train"],
        skeleton="ntu25",
        class_names=tiny_store.benchmark.class_names,
    )
    assert frcore.predict(run, data=other).copies.tolist() == [True, True, False, False, False]
    assert frcore.predict(run, data=other, split="train").copies.tolist() == [True]
    shutil.rmtree(run.path / "predictions")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("FRCORE_DATA", str(run.path))  # where the training store is not
        assert not frcore.predict(run, data=other).copies.any()
    assert "stays unknown" in caplog.text
    assert frcore.predict(run, data=other).copies.sum() == 2  # what is not known is not kept


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ("a", "b", "c", "d", "e")}, "other class_names .*'a'.*, not .*'wave'"),
        ({"skeleton": "coco17"}, "other skeleton"),
    ],
)
def test_a_store_of_other_classes_or_another_body_is_refused(change, message, run, make_store):
    if "skeleton" in change:
        change = change | {"clips": [np.ones((9, 17, 3), np.float32)] * 64}
    name = "_".join(change)
    with pytest.raises(UserError, match=message):
        frcore.predict(run, data=make_store(name, **change))


def test_other_clips_under_the_same_name_are_refused_unless_asked_for(run, monkeypatch):
    store = open_store("tiny")
    store.fingerprint = 64 * "0"
    monkeypatch.setattr(inference, "open_store", lambda name: store)
    with pytest.raises(UserError, match="trained on other clips .* pass data='tiny'"):
        frcore.predict(run)
    assert len(frcore.predict(run, data="tiny")) == 20


def test_a_model_of_two_persons_predicts_a_store_of_one(make_store, tiny_config, tmp_path):
    settings = {"train.epochs": 1, "optim.warmup_epochs": 0, "data.repeats": 1}
    clips = [np.stack([clip, clip + 1], -1) for clip in map(np.asarray, _poses())]
    make_store("two", clips=clips)
    run = frcore.fit(tiny_config | {"benchmark": "two", "head": None}, out=tmp_path, **settings)
    assert len(frcore.predict(run, data="tiny")) == 20


def _poses():
    store = open_store("tiny")
    return [store.clip_at(row)[:, 0] for row in range(len(store))]


def test_mistakes_name_the_choices(run, make_store, tiny_config, tmp_path):
    with pytest.raises(UserError, match="Unknown split 'tset'. Did you mean 'test'"):
        frcore.predict(run, split="tset")
    with pytest.raises(UserError, match="Did you mean 'fin.spatial'.*backbone, low.spatial"):
        frcore.predict(run, spaces=("fin.spacial",))
    with pytest.raises(UserError, match="Unknown space 'backbon'"):
        frcore.predict(run, spaces="backbon")
    with pytest.raises(UserError, match="No run directory or checkpoint at .*nowhere"):
        frcore.predict(tmp_path / "nowhere")
    with pytest.raises(UserError, match="No run in"):
        frcore.predict(tmp_path)
    no_val = make_store("without_val", split=["train"] * 40 + ["test"] * 24)
    with pytest.raises(UserError, match=r"no clips in split 'val' \(protocol 'default'"):
        frcore.predict(run, split="val", data=no_val)


def test_a_model_without_a_head_has_the_backbone_s_space_only(tiny_config, tmp_path):
    settings = {"train.epochs": 1, "optim.warmup_epochs": 0, "data.repeats": 1}
    run = frcore.fit(tiny_config | {"head": None}, out=tmp_path, **settings)
    assert frcore.predict(run).metadata["model"] == "ctrgcn_tiny"
    with pytest.raises(UserError, match="without FR Head: its only space is 'backbone'"):
        frcore.predict(run, spaces=("backbone", "fin.spatial"))


@pytest.mark.parametrize(
    ("change", "spaces", "listed"),
    [
        # What the file says of its model no longer fits its tensors.
        (
            {"head": {"hidden": 32}},
            ("fin.spatial",),
            r"fin_spatial.prototypes: \(5, 256\) in the file, \(5, 32\) in the model",
        ),
        (
            {"head": {"decouple": False}},
            ("fin.pooled",),
            r"fin_pooled.prototypes: missing in the file, \(5, 256\) in the model",
        ),
        (
            {"model": {"backbone": "ctrgcn_tiny", "overrides": {"width": 16}}},
            (),
            r"classifier.weight: \(5, 32\) in the file, \(5, 64\) in the model",
        ),
    ],
)
def test_fault_06_tensors_of_another_model_are_listed_with_both_shapes(change, spaces, listed, run):
    checkpoint = load_checkpoint(run.checkpoint())
    metadata = checkpoint.metadata | {"config": checkpoint.metadata["config"] | change}
    save_checkpoint(run.path / LAST, checkpoint.tensors, metadata)
    with pytest.raises(CheckpointError, match=listed) as refused:
        frcore.predict(run, spaces=spaces)
    assert "another model" in str(refused.value)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"class_names": ["wave", "clap"]}, r"classifier.bias: \(5,\) in the file, \(2,\) in"),
        (
            {"skeleton": UCLA20.to_dict()},
            r"adjacency: \(3, 25, 25\) in the file, \(3, 20, 20\) in the model",
        ),
    ],
)
def test_fault_06_a_checkpoint_of_other_classes_or_joints_is_refused_with_both_shapes(
    other, said, run
):
    checkpoint = load_checkpoint(run.checkpoint())
    benchmark = checkpoint.metadata["benchmark"] | other
    save_checkpoint(
        run.path / LAST, checkpoint.tensors, checkpoint.metadata | {"benchmark": benchmark}
    )
    with pytest.raises(CheckpointError, match=said):
        load_recognizer(run.checkpoint())


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("config", "nw_ucla_joint", "config is missing, or no dict"),
        ("config", {"extends": "nw_ucla_joint", "seed": -1}, "seed: Input should be"),
        ("benchmark", None, "benchmark is missing, or no dict"),
        ("benchmark.skeleton", 3, "which model of which clips it holds"),
        ("benchmark.skeleton.joints", 3, "which model of which clips it holds"),
        ("benchmark.name", None, "which model of which clips it holds"),
        ("benchmark.num_persons", 10**6, "expected 1 to 100"),
        ("benchmark.num_frames", 10**9, "expected 1 to 100,000"),
        ("config.model.overrides.width", "wide", "cannot be built"),
        ("config.model.overrides.widht", 8, "cannot be built: Unknown override"),
        ("fingerprint", 7, "fingerprint is missing, or no str"),
        ("model", None, "model is missing, or no str"),
        ("epoch", None, "epoch is missing, or no int"),
        ("select", [1], "select is missing, or no str"),
    ],
)
def test_metadata_of_a_stranger_are_checked(key, value, said, run):
    checkpoint = load_checkpoint(run.checkpoint())
    *above, last = key.split(".")
    section = checkpoint.metadata
    for name in above:
        section = section[name]
    section.update({last: value})
    if value is None:
        del section[last]
    save_checkpoint(run.path / LAST, checkpoint.tensors, checkpoint.metadata)
    with pytest.raises(CheckpointError, match=said) as refused:
        frcore.predict(run)
    assert LAST in str(refused.value)


def test_a_file_that_is_no_run_s_checkpoint_is_refused(tmp_path):
    save_checkpoint(tmp_path / "x.safetensors", {"a": np.zeros(3)}, {"epoch": 1})
    with pytest.raises(CheckpointError, match="its format is None, expected 1"):
        frcore.predict(tmp_path / "x.safetensors")


def test_a_clip_of_nan_is_named_by_training_and_predict(tiny_store, tiny_config, tmp_path, caplog):
    """Training goes on and counts it as wrong; a prediction of it would be made up."""
    records = []
    for row in tiny_store.samples.itertuples():
        clip = np.array(tiny_store.clip(row.sample_id))
        if row.sample_id == "test/000003":
            clip[:] = np.nan
        splits = {"default": row.split_default}
        records.append(frcore.data.ClipRecord(row.sample_id, row.label, clip, splits))
    benchmark = dataclasses.replace(tiny_store.benchmark, name="with_nan")
    root = frcore.data.data_root()
    frcore.data.write_store(root / "with_nan", benchmark, records, allow_nonfinite=True)
    settings = {"train.epochs": 1, "optim.warmup_epochs": 0, "benchmark": "with_nan"}
    run = frcore.fit(tiny_config, out=tmp_path / "run", **settings)
    assert "1 clips give scores that are not finite: test/000003." in caplog.text
    names = run.history["test_sample_ids"].tolist()
    assert run.history["test_predicted"][0][names.index("test/000003")] == -1
    with pytest.raises(UserError, match="not finite: test/000003.*frcore data check"):
        frcore.predict(run)
