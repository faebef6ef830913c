"""`fit` from outside: own data, precision, randomness, callbacks, mistakes, the command line."""

import math
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

import frcore
from frcore.checkpoint import load_checkpoint, read_metadata
from frcore.cli import app
from frcore.config import load_recipe
from frcore.config_errors import ConfigError
from frcore.data import from_arrays
from frcore.data.check import check_store
from frcore.data.random import dropout_seed
from frcore.data.store import StoreNotFound
from frcore.errors import UserError
from frcore.files import WriteError
from frcore.fr_head import FRHead
from frcore.guard import StepGuard
from frcore.run import Run
from frcore.skeleton import Skeleton

ONE_EPOCH = {"train.epochs": 1, "optim.warmup_epochs": 0, "data.repeats": 1}


TINY = {"model.overrides": {"width": 8}, "train.epochs": 1, "optim.warmup_epochs": 0}


@pytest.mark.parametrize("skeleton", ["coco17 in two dimensions", "own, two persons"])
def test_the_tiny_recipe_trains_on_own_data(skeleton, tmp_path):
    rng = np.random.default_rng(0)
    if skeleton.startswith("coco17"):
        name, body, shape = "gestures", "coco17", (17, 2)
    else:
        name, shape = "hands", (4, 3, 2)
        body = Skeleton("hand", ("wrist", "thumb", "index", "ring"), ((1, 0), (2, 0), (3, 0)))
    clips = [rng.normal(size=(rng.integers(1, 40), *shape)) for _ in range(16)]
    split = ["train"] * 12 + ["test"] * 4
    from_arrays(name, clips, [0, 1] * 8, split=split, skeleton=body)
    run = frcore.fit("synthetic_tiny_frhead", benchmark=name, out=tmp_path, **TINY)
    prediction = frcore.predict(run, spaces=("backbone", "fin.temporal"))
    assert len(prediction) == 4 and prediction.class_names == ("0", "1")
    assert prediction.prototypes["fin.temporal"].shape == (2, 256)


def test_fault_12_clips_with_next_to_nothing_in_them_train_and_are_predicted(tmp_path, caplog):
    rng = np.random.default_rng(0)
    clips = list(rng.normal(size=(20, 9, 25, 3, 2)).astype(np.float32))
    odd = {"one frame": clips[0][:1], "zeros": np.zeros((9, 25, 3, 2)), "second": clips[1].copy()}
    odd["second"][..., 0] = 0
    odd["three"] = rng.normal(size=(9, 25, 3, 3))
    ids = [*(f"plain {n}" for n in range(20)), *odd, *(f"test {name}" for name in odd)]
    given = {
        "sample_ids": ids,
        "split": ["train"] * 24 + ["test"] * 4,
        "skeleton": "ntu25",
        "root": frcore.data.data_root(),
    }
    clips, labels = [*clips, *odd.values(), *odd.values()], [0, 1] * 14
    empty = [*clips[:-1], clips[0][:0]]
    with pytest.raises(UserError, match=r"'test three' .*0 frames"):
        from_arrays("odd", empty, labels, **given)
    store = from_arrays("odd", clips, labels, **given)
    assert store.benchmark.num_persons == 3  # all of them appear
    np.testing.assert_array_equal(store.clip("second")[:, 0], odd["second"][..., 1])
    report = check_store(store)
    assert report.empty == ["zeros", "test zeros"]
    assert report.single_frame == ["one frame", "test one frame"]
    for stream, normalize in (("joint", "minmax"), ("bone_motion", "none")):
        choice = {"data.stream": stream, "data.transform.normalize": normalize, "data.persons": 2}
        out = tmp_path / stream
        run = frcore.fit("synthetic_tiny_frhead", benchmark="odd", out=out, **TINY, **choice)
        row = run.metrics.iloc[0]
        assert row["skipped_steps"] == 0 and math.isfinite(row["loss"])
        assert np.isfinite(frcore.predict(run).probabilities).all()


# ---- precision and randomness --------------------------------------------------------------------


def test_bfloat16_is_for_the_backbone_only(monkeypatch, tiny_config, tmp_path):
    seen, forward, project = set(), FRHead.forward, FRHead.project

    def watched_forward(self, stages, labels, logits, **options):
        seen.add(("stages", stages[-1].dtype))
        seen.add(("logits", logits.dtype))
        output = forward(self, stages, labels, logits, **options)
        seen.add(("loss", output.loss.dtype))
        return output

    def watched_project(self, *args):
        features = project(self, *args)
        seen.add(("features", features.dtype))
        return features

    monkeypatch.setattr(FRHead, "forward", watched_forward)
    monkeypatch.setattr(FRHead, "project", watched_project)
    run = frcore.fit(tiny_config, out=tmp_path, **ONE_EPOCH, **{"train.precision": "bf16"})
    assert (
        dict(seen)
        == {
            "stages": torch.bfloat16,
            "logits": torch.float32,
            "loss": torch.float32,
            "features": torch.float32,
        }
        and len(seen) == 4
    )
    assert math.isfinite(run.metrics["loss"][0]) and run.metrics["skipped_steps"][0] == 0
    floats = load_checkpoint(run.checkpoint()).tensors.values()
    assert {t.dtype for t in floats if t.is_floating_point()} <= {torch.float32, torch.float64}


def test_dropout_differs_by_seed_epoch_and_step_for_generators_of_32_bits():
    places = [(s, e, n) for s in (0, 1, 2**31 - 1) for e in (0, 1, 4096) for n in (0, 1, 2**20)]
    seeds = [dropout_seed(*place) for place in places]
    assert len({seed & 0xFFFFFFFF for seed in seeds}) == len(places)
    assert dropout_seed(0, 0, 0) == seeds[0] != dropout_seed(0, 0, 0, rank=1)
    with torch.random.fork_rng(devices=[]):
        for seed in seeds:
            torch.manual_seed(seed)


def test_training_leaves_torch_s_generator_alone(tiny_config, tmp_path):
    before = torch.get_rng_state()
    frcore.fit(tiny_config | {"head": None}, out=tmp_path, **ONE_EPOCH)
    assert torch.equal(torch.get_rng_state(), before)


# ---- callbacks -----------------------------------------------------------------------------------


class Told:
    def __init__(self):
        self.events = []

    def on_start(self, run):
        self.events.append(("start", run.state, len(run.metrics)))

    def on_epoch(self, run, row):
        saved = read_metadata(run.checkpoint("last"))["epoch"]
        assert row == pytest.approx(run.metrics.iloc[-1].to_dict())
        self.events.append(("epoch", row["epoch"], saved))

    def on_end(self, run):
        self.events.append(("end", run.state, len(run.metrics)))


def test_callbacks_and_the_live_view_are_told_in_order(tiny_config, tmp_path):
    one, live, order = Told(), Told(), []
    epochs_only = SimpleNamespace(on_epoch=lambda run, row: order.append(row["epoch"]))
    frcore.fit(
        tiny_config | {"head": None},
        out=tmp_path,
        callbacks=[epochs_only, one, object()],
        live=live,
        **ONE_EPOCH | {"train.epochs": 2},
    )
    assert (
        one.events
        == live.events
        == [
            ("start", "running", 0),
            ("epoch", 1, 1),  # saved before it is told
            ("epoch", 2, 2),
            ("end", "finished", 2),
        ]
    )
    assert order == [1, 2]


def test_an_exception_in_a_callback_ends_training_and_keeps_the_epochs_before_it(
    tiny_config, tmp_path
):
    def fail(run, row):
        raise ZeroDivisionError

    config, two = tiny_config | {"head": None}, ONE_EPOCH | {"train.epochs": 2}
    with pytest.raises(ZeroDivisionError):
        frcore.fit(config, out=tmp_path, callbacks=[SimpleNamespace(on_epoch=fail)], **two)
    run = Run.open(tmp_path)
    assert run.state == "interrupted" and len(run.metrics) == 1
    told = Told()
    frcore.fit(config, out=tmp_path, callbacks=[told], **two)
    assert told.events[:2] == [("start", "running", 1), ("epoch", 2, 2)]


# ---- mistakes ------------------------------------------------------------------------------------


def not_reached(*args, **kwargs):
    raise AssertionError("too late for this mistake")


def test_fault_19_mistakes_in_the_configuration_come_before_any_data(
    monkeypatch, tiny_config, tmp_path
):
    monkeypatch.setattr("frcore.train.open_store", not_reached)
    with pytest.raises(ConfigError) as mistakes:
        frcore.fit(tiny_config, out=tmp_path / "run", lerning_rate=1, **{"optim.lr": -1})
    assert "lerning_rate" in str(mistakes.value) and "optim.lr" in str(mistakes.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.backbone": "ctr-gcn"}, "Did you mean 'ctrgcn'"),
        ({"model.overrides": {"widht": 8}}, "widht"),
        ({"head.levels": [11], "head.level_weights": [1.0]}, "1 to 10"),
        (
            {"model.overrides": {"num_frames": 8, "in_channels": 2}},
            "cannot set in_channels, num_fr",
        ),
        ({"data.persons": 2}, "data.persons: a clip of tiny has at most 1, not 2"),
        ({"data.persons": 2, "model.backbone": "ctrgcnn"}, "2 mistakes"),
    ],
)
def test_a_model_that_cannot_be_built_is_said_before_clips_are_read_and_leaves_nothing(
    change, message, monkeypatch, tiny_config, tmp_path
):
    monkeypatch.setattr("frcore.train.open_store", not_reached)
    with pytest.raises(ConfigError, match=message):
        frcore.fit(tiny_config, out=tmp_path / "run", **change)
    assert not (tmp_path / "run").exists()


def test_a_split_that_is_missing_is_said_and_leaves_nothing(make_store, tiny_config, tmp_path):
    make_store("train_and_test", split=["train"] * 44 + ["test"] * 20)
    choice = {"benchmark": "train_and_test", "train.select": "val_best"}
    with pytest.raises(UserError, match="needs a split 'val'"):
        frcore.fit(tiny_config, out=tmp_path / "run", **choice)
    assert not (tmp_path / "run").exists()  # the mended configuration trains there


def test_a_finished_run_is_shown_by_its_callbacks(trained, tiny_config):
    seen = []
    watcher = SimpleNamespace(
        on_start=lambda run: seen.append(("start", len(run.metrics))),
        on_epoch=lambda run, row: seen.append("epoch"),
        on_end=lambda run: seen.append(("end", run.state)),
    )
    frcore.fit(tiny_config, out=trained.path, live=watcher)
    assert seen == [("start", 3), ("end", "finished")]


def test_callbacks_are_told_of_an_end_by_error(tiny_config, tmp_path):
    seen = []

    def fail(run, row):
        raise ValueError("mine")

    watcher = SimpleNamespace(on_epoch=fail, on_end=lambda run: seen.append(run.state))
    with pytest.raises(ValueError, match="mine"):
        frcore.fit(tiny_config, out=tmp_path / "run", callbacks=[watcher], **ONE_EPOCH)
    assert seen == ["running"]


def test_a_warm_up_longer_than_training_is_said(tiny_config, tmp_path, caplog):
    frcore.fit(tiny_config, out=tmp_path / "run", **ONE_EPOCH | {"optim.warmup_epochs": 5})
    assert "optim.warmup_epochs=5 is not over when training is (train.epochs=1)" in caplog.text


def test_a_missing_store_names_the_command_that_makes_it(tiny_config, tmp_path):
    with pytest.raises(StoreNotFound, match="frcore data prepare nw_ucla --source"):
        frcore.fit(tiny_config | {"benchmark": "nw_ucla"}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fault_04_a_directory_that_cannot_be_written_is_said_before_clips_are_read(
    monkeypatch, tiny_config, tmp_path
):
    monkeypatch.setattr("frcore.train.load_splits", not_reached)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file; a run needs a directory"):
        frcore.fit(tiny_config, out=tmp_path / "file")
    with pytest.raises(WriteError, match="Cannot write .*file"):
        frcore.fit(tiny_config, out=tmp_path / "file" / "run")


def test_fault_03_a_disk_without_room_for_a_checkpoint_is_said_before_the_first_step(
    monkeypatch, tiny_config, trained, tmp_path
):
    """As much as the first checkpoint really takes, and a little less."""
    size = (trained.path / "previous.safetensors").stat().st_size
    monkeypatch.setattr("frcore.train.Trainer.run", not_reached)
    monkeypatch.setattr("frcore.run_dir.free_bytes", lambda folder: int(0.95 * size))
    with pytest.raises(WriteError, match=r"No space left in .*run to train.*are free\. Make room"):
        frcore.fit(tiny_config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("frcore.run_dir.free_bytes", lambda folder: size)
    with pytest.raises(AssertionError, match="too late"):
        frcore.fit(tiny_config, out=tmp_path / "run")


# ---- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_fault_07_a_stopped_command_exits_with_the_signal_s_code_and_goes_on(
    sent, code, monkeypatch, tiny_config, tmp_path
):
    config = load_recipe(tiny_config | {"head": None}, ONE_EPOCH).model_dump(mode="json")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    command = ["train", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run")]
    step = StepGuard.step
    with monkeypatch.context() as patch:
        patch.setattr(StepGuard, "step", lambda *a: os.kill(os.getpid(), sent) or step(*a))
        result = CliRunner().invoke(app, command)
    assert result.exit_code == code and "Traceback" not in result.output
    assert ("The same command goes on" in result.stderr) == (sent == signal.SIGINT)
    assert read_metadata(tmp_path / "run" / "last.safetensors")["step"] == 1
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0 and "finished" in result.stdout
    assert "Finished already" not in result.stdout
    assert "Finished already; delete" in CliRunner().invoke(app, command).stdout


@pytest.mark.slow  # tracing ten blocks forward and backward takes half a minute
def test_a_compiled_run_is_the_same_run(tiny_store, tiny_config, tmp_path, monkeypatch):
    plain = frcore.fit(tiny_config, out=tmp_path / "plain")
    modes = []

    def traced(model, *, mode):  # as torch.compile does it, without the C++ compiler
        modes.append(mode)
        return torch_compile(model, backend="aot_eager")

    torch_compile = torch.compile
    monkeypatch.setattr(torch, "compile", traced)
    run = frcore.fit(tiny_config, out=tmp_path / "compiled", **{"train.compile": "default"})
    assert modes == ["default"]
    assert run.config["train"]["compile"] == "default"
    assert run.environment["config_hash"] == plain.environment["config_hash"]
    expected = load_checkpoint(plain.path / "last.safetensors").tensors
    found = load_checkpoint(run.path / "last.safetensors").tensors
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
