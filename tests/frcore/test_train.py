"""`fit`: the loop against a plain one, what it logs, which checkpoint it selects."""

import gc
import json
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import frcore
from frcore.checkpoint import load_checkpoint, read_metadata
from frcore.config import load_recipe
from frcore.data.random import epoch_order
from frcore.errors import UserError
from frcore.recognizer import build_recognizer
from frcore.run_dir import RunDir
from frcore.splits import load_splits
from frcore.stopping import StopRequest
from frcore.train import Trainer

ONE_EPOCH = {"train.epochs": 1, "optim.warmup_epochs": 0, "data.repeats": 1}
SPACES = [
    f"{level}.{kind}" for level in ("low", "mid", "high", "fin") for kind in ("spatial", "temporal")
]


def test_an_epoch_is_that_of_a_plain_loop(tiny_config, tiny_store, tmp_path):
    """Order by hash, warm-up, CE + 0.1 CL, SGD with Nesterov momentum and weight decay."""
    settings = {"train.epochs": 2, "optim.warmup_epochs": 1, "model.dropout": 0.0}
    settings |= {"optim.lr": 0.01, "head.warm_start": False}
    config = load_recipe(tiny_config, settings)
    run = frcore.fit(config, out=tmp_path)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_recognizer(config, tiny_store.benchmark)
    train = load_splits(tiny_store, config, torch.device("cpu")).train
    # Fused, as ours (test_optim has its rule by hand): six steps make 2e-4 of another's rounding.
    sgd = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=4e-4, fused=True
    )
    for epoch in range(2):
        model.train()
        index, repeat = epoch_order(train.clips.keys, seed=0, epoch=epoch, repeats=2)
        for i, r in zip(index.split(24), repeat.split(24), strict=True):
            labels = train.clips.labels[i]
            out = model(train(i, epoch=epoch, repeat=r))
            contrast = model.head(out.stages, labels, out.logits).loss
            loss = F.cross_entropy(out.logits, labels) + 0.1 * contrast
            sgd.zero_grad()
            loss.backward()
            sgd.step()
    found = load_checkpoint(run.checkpoint()).part("model")
    expected = model.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-8, msg=name)


def test_metrics_have_a_row_an_epoch_with_these_columns(trained):
    metrics = trained.metrics
    assert list(metrics) == [
        *("epoch", "lr", "loss", "ce", "cl"),
        *(f"cl_{space.replace('.', '_')}" for space in SPACES),
        *("tp", "fn", "fp", "train_acc", "val_acc", "test_acc"),
        *("seconds", "eval_seconds", "samples_per_s", "skipped_steps"),
    ]
    assert metrics["epoch"].tolist() == [1, 2, 3]
    assert metrics["lr"].tolist() == pytest.approx([0.05, 0.05, 0.005])  # milestone after 2
    np.testing.assert_array_equal(metrics["loss"], metrics["ce"] + 0.1 * metrics["cl"])
    assert (metrics["tp"] + metrics["fn"] == 64).all() and (metrics["fn"] == metrics["fp"]).all()
    assert metrics["tp"].tolist() == pytest.approx((64 * metrics["train_acc"]).tolist())
    weights = np.repeat([0.1, 0.2, 0.5, 1.0], 2)
    branches = metrics[[f"cl_{space.replace('.', '_')}" for space in SPACES]]
    np.testing.assert_allclose(branches @ weights, metrics["cl"], rtol=1e-5)
    assert (metrics["skipped_steps"] == 0).all() and (metrics["samples_per_s"] > 0).all()


def test_history_has_every_clip_in_every_epoch(trained, tiny_store):
    history, metrics = trained.history, trained.metrics
    for split, count in {"train": 32, "val": 12, "test": 20}.items():
        rows = tiny_store.split(split)
        assert history[f"{split}_sample_ids"].tolist() == rows["sample_id"].tolist()
        assert history[f"{split}_labels"].tolist() == rows["label"].tolist()
        assert history[f"{split}_predicted"].shape == (3, count)
        p_true = history[f"{split}_p_true"]
        assert ((p_true >= 0) & (p_true <= 1)).all() and p_true.dtype == np.float32
        if split != "train":
            correct = history[f"{split}_predicted"] == history[f"{split}_labels"]
            assert metrics[f"{split}_acc"].tolist() == pytest.approx(correct.mean(1).tolist())


def test_calibration_has_classes_and_branches(trained):
    calibration, metrics = trained.calibration, trained.metrics
    assert calibration["spaces"].tolist() == SPACES
    assert calibration["class_names"].tolist() == ["wave", "clap", "kick", "bow", "jump"]
    for name in ("tp", "fn", "fp"):
        assert calibration[name].shape == (3, 5)
        assert calibration[name].sum(1).tolist() == metrics[name].tolist()
    for name in ("fn", "fp"):
        cosine = calibration[f"{name}_cosine"]
        assert cosine.shape == (3, 8, 5)
        nobody = np.isnan(cosine).all(1)
        assert (nobody == (calibration[name] == 0)).all()
        assert (np.abs(cosine[~np.isnan(cosine)]) <= 1 + 1e-5).all()


def test_a_checkpoint_describes_itself(trained, tiny_store):
    checkpoint = load_checkpoint(trained.checkpoint("last"))
    meta = checkpoint.metadata
    assert meta["config"] == trained.config and meta["config"]["name"] == "tiny_run"
    assert meta["class_names"] == list(tiny_store.benchmark.class_names)
    assert meta["fingerprint"] == tiny_store.fingerprint
    assert (meta["epoch"], meta["step"], meta["frcore"]) == (3, 0, frcore.__version__)
    assert meta["metrics"]["test_acc"] == trained.metrics["test_acc"].iloc[-1]
    assert trained.environment["config_hash"] == meta["config_hash"]
    model, momentum = checkpoint.part("model"), checkpoint.part("optim")
    assert model["head.contrast.fin_spatial.prototypes"].shape == (5, 256)
    buffers = ("running_mean", "running_var", "num_batches_tracked", "prototypes", "seen")
    assert momentum.keys() == {k for k in model if not k.endswith(buffers)}
    assert not checkpoint.part("meters")


def test_without_a_head_nothing_of_it_is_logged_or_saved(tiny_config, tmp_path):
    run = frcore.fit(tiny_config | {"head": None}, out=tmp_path, **ONE_EPOCH)
    assert not {"cl", "tp", "fn", "fp"} & set(run.metrics)
    np.testing.assert_array_equal(run.metrics["loss"], run.metrics["ce"])
    assert not (tmp_path / "calibration.npz").exists() and run.calibration == {}
    assert not [k for k in load_checkpoint(run.checkpoint()).tensors if ".head." in k]


# ---- selection and splits ------------------------------------------------------------------------


def test_the_last_epoch_is_selected_and_the_best_on_val_is_kept_beside_it(trained):
    assert trained.checkpoint().name == "last.safetensors"
    best = read_metadata(trained.checkpoint("best"))
    assert best["epoch"] == trained.metrics["val_acc"].idxmax() + 1
    assert best["best"] == trained.metrics["val_acc"].max()
    assert best["select"] == "val_best" and read_metadata(trained.checkpoint())["select"] == "last"
    assert frcore.predict(trained).metadata["select"] == "last"
    chosen = frcore.predict(trained.checkpoint("best"), split="val")
    assert chosen.metadata["select"] == "val_best"
    assert chosen.accuracy() == pytest.approx(best["best"])


def test_test_best_is_written_into_what_is_made_from_it(tiny_config, tmp_path):
    settings = {"train.select": "test_best", "train.epochs": 2, "data.repeats": 1}
    run = frcore.fit(tiny_config, out=tmp_path, **settings)
    assert run.checkpoint().name == "best.safetensors"
    assert read_metadata(run.checkpoint())["select"] == "test_best"
    prediction = frcore.predict(run)
    assert prediction.metadata["select"] == "test_best" and "selected on test" in repr(prediction)
    assert prediction.accuracy() == pytest.approx(run.metrics["test_acc"].max())
    last = frcore.predict(run.checkpoint("last"))
    assert last.metadata["select"] == "last" and "selected on test" not in repr(last)
    assert last.accuracy() == pytest.approx(run.metrics["test_acc"].iloc[-1])


def test_selection_by_val_without_val_is_refused_before_training(make_store, tiny_config, tmp_path):
    make_store("no_val", split=["train"] * 40 + ["test"] * 24)
    config = tiny_config | {"benchmark": "no_val"}
    with pytest.raises(UserError, match="'val_best' needs a split 'val'"):
        frcore.fit(config, out=tmp_path / "run", **{"train.select": "val_best"})
    run = frcore.fit(config, out=tmp_path / "run", **ONE_EPOCH)
    assert run.path == tmp_path / "run"  # nothing of the mistake is left there
    assert not (run.path / "best.safetensors").exists() and "val_acc" not in run.metrics


def test_epochs_without_evaluation_are_empty_and_the_last_always_has_one(tiny_config, tmp_path):
    settings = {"train.eval_every": 2, "data.repeats": 1, "head": None}
    run = frcore.fit(tiny_config, out=tmp_path, **settings)
    assert run.metrics["test_acc"].isna().tolist() == [True, False, False]
    assert (run.history["test_predicted"] == -1).all(1).tolist() == [True, False, False]
    assert np.isnan(run.history["val_p_true"]).all(1).tolist() == [True, False, False]
    assert run.history["train_predicted"].min() >= 0
    text = json.dumps(read_metadata(run.path / "previous.safetensors"), allow_nan=False)
    assert '"test_acc"' in text


@pytest.mark.parametrize(("duplicates", "trained_on"), [("drop", 29), ("keep", 32)])
def test_both_figures_are_reported_where_clips_were_copied_across_the_split(
    duplicates, trained_on, copied_store, tiny_config, tmp_path
):
    config = tiny_config | {"benchmark": "copied", "head": None}
    run = frcore.fit(config, out=tmp_path, **ONE_EPOCH, **{"data.duplicates": duplicates})
    assert run.history["train_predicted"].shape == (1, trained_on)
    prediction = frcore.predict(run)
    assert prediction.copies.tolist() == [True] * 3 + [False] * 17
    row = run.metrics.iloc[0]
    correct = prediction.predicted == prediction.labels
    assert row["test_acc"] == pytest.approx(correct.mean())
    assert row["test_acc_unseen"] == pytest.approx(correct[3:].mean())
    assert prediction.accuracy(unseen_only=True) == pytest.approx(correct[3:].mean())
    assert f"top1={correct.mean():.1%} (unseen {correct[3:].mean():.1%})" in repr(prediction)


def test_a_single_clip_left_over_joins_the_batch_before_it(tiny_config, tmp_path):
    """32 clips in batches of 31; of one frame, so batch norm would see one value a channel."""
    settings = {**ONE_EPOCH, "train.batch_size": 31, "data.transform.frames": 1}
    row = frcore.fit(tiny_config, out=tmp_path, **settings).metrics.iloc[0]
    assert row["tp"] + row["fn"] == 32 and row["skipped_steps"] == 0


def test_persons_that_are_left_out_are_announced(make_store, tiny_config, tmp_path, caplog):
    clips = [np.random.default_rng(i).normal(size=(9, 25, 3, 2)) for i in range(64)]
    store = make_store("two_persons", clips=clips)
    assert store.benchmark.num_persons == 2
    settings = {**ONE_EPOCH, "benchmark": "two_persons", "data.persons": 1}
    frcore.fit(tiny_config, out=tmp_path, **settings)
    assert "of the 2 persons of a clip only the first count" in caplog.text


def test_clips_are_gone_with_their_trainer(tiny_store, tiny_config, tmp_path):
    gc.collect()
    gc.disable()  # a cycle would keep gigabytes until a collection
    try:
        with RunDir(tmp_path) as directory, StopRequest() as stop:
            config = load_recipe(tiny_config, {"train.epochs": 1})
            directory.write_config(config.model_dump(mode="json"), config_hash=config.hash)
            trainer = Trainer(config, tiny_store, directory, torch.device("cpu"))
            trainer.run(stop, ())
            clips = weakref.ref(trainer.splits.train)
            del trainer
        assert clips() is None
    finally:
        gc.enable()


class Waits(TorchDispatchMode):
    """Operators that make the CPU wait for a device: values that are read, shapes that depend."""

    NAMES = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.found += [name] if name in self.NAMES else []
        return func(*args, **(kwargs or {}))


def test_a_training_step_never_waits_for_the_device(tiny_store, tiny_config, tmp_path):
    config = load_recipe(tiny_config)
    with RunDir(tmp_path) as directory:
        trainer = Trainer(config, tiny_store, directory, torch.device("cpu"))
        trainer.guard.read_every = 20  # as on a GPU
        trainer.model.train()
        train = trainer.splits.train
        index, repeat = epoch_order(train.clips.keys, seed=0, epoch=0, repeats=2)
        with Waits() as waits:
            (clips,) = train.batches([(index[:24], repeat[:24])], epoch=0)
            trainer._train_step(index[:24], repeat[:24], clips)
        assert waits.found == []
        with Waits() as waits:
            assert trainer.record.accuracy() > 0  # so they would be seen
        assert waits.found
