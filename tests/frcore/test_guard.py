"""A step whose loss or gradients are not finite changes nothing, and its clips are named."""

import math
import re

import pytest
import torch
import yaml
from torch import nn
from typer.testing import CliRunner

import frcore
from frcore.cli import app
from frcore.config import OptimConfig, load_recipe
from frcore.data.augment import ClipPipeline
from frcore.guard import NonFiniteError, StepGuard, flatten_buffers
from frcore.optim import build_optimizer
from frcore.resume import training_state
from frcore.train import Trainer

BAD = {
    "NaN loss": lambda loss: loss * math.nan,
    "infinite loss": lambda loss: loss + math.inf,
    # sqrt at 0: finite itself, with an infinite slope that meets a zero
    "NaN in the gradients alone": lambda loss: loss + (0.0 * loss).sqrt(),
}


class Small(nn.Module):
    """Weights, batch norm, and a buffer of its own kind that a forward pass changes."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)
        self.register_buffer("prototypes", torch.zeros(2, 4))
        self.register_buffer("seen", torch.zeros(2, dtype=torch.bool))

    def forward(self, x):
        x = self.norm(self.first(x))
        if self.training:
            self.prototypes += x.detach()[:2]
            self.seen |= True
        return self.last(x).square().mean()


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Small()


def guarded(model, **options):
    optimizer = build_optimizer(model, OptimConfig(lr=0.1))
    guard = StepGuard(model, optimizer, lambda index: [f"clip{i}" for i in index], **options)
    return optimizer, guard


def take_step(model, optimizer, guard, spoil=lambda loss: loss, number=0):
    guard.before_forward()
    loss = spoil(model(torch.full((5, 3), 0.1 * number) + torch.eye(5, 3)))
    loss.backward()
    ok = guard.step(loss, torch.arange(number, number + 2), f"step {number}")
    optimizer.zero_grad()
    return bool(ok)


def snapshot(model, optimizer):
    return {k: t.clone() for k, t in training_state(model, optimizer, None).items()}


def differing(before, after):
    return {k for k in before if not torch.equal(before[k], after[k])}


@pytest.mark.parametrize("read_every", [1, 5])
@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_fault_08_09_a_bad_step_changes_nothing_and_training_goes_on(
    spoil, read_every, small, caplog
):
    optimizer, guard = guarded(small, read_every=read_every)
    assert take_step(small, optimizer, guard, number=0)
    before = snapshot(small, optimizer)
    assert not take_step(small, optimizer, guard, spoil, number=1)
    assert differing(before, snapshot(small, optimizer)) == set()
    assert take_step(small, optimizer, guard, number=2)
    assert differing(before, snapshot(small, optimizer)) == set(before) - {"model.seen"}
    guard.read()
    (message,) = caplog.messages
    assert "step 1:" in message and "clip1, clip2" in message


@pytest.mark.parametrize("spoil", BAD.values(), ids=BAD)
def test_fault_08_09_a_bad_first_step_leaves_momentum_at_zero(spoil, small):
    optimizer, guard = guarded(small)
    before = snapshot(small, optimizer)
    assert not take_step(small, optimizer, guard, spoil)
    after = snapshot(small, optimizer)
    assert differing(before, after) == set()
    assert all((after[k] == 0).all() for k in after if k.startswith("optim."))


def test_skipping_a_step_is_as_if_it_had_not_been():
    """With and without a bad step between two good ones: the same weights, bit for bit."""
    results = []
    for with_bad in (True, False):
        torch.manual_seed(1)
        model = Small()
        optimizer, guard = guarded(model)
        take_step(model, optimizer, guard, number=0)
        if with_bad:
            take_step(model, optimizer, guard, BAD["NaN loss"], number=7)
        take_step(model, optimizer, guard, number=1)
        results.append(snapshot(model, optimizer))
    assert differing(*results) == set()


@pytest.mark.parametrize("read_every", [1, 4])
def test_fault_08_three_bad_steps_in_a_row_end_training_and_name_the_clips(read_every, small):
    optimizer, guard = guarded(small, read_every=read_every)
    kinds = ["bad", "bad", "good", "bad", "bad", "bad"]
    with pytest.raises(NonFiniteError, match="step 5: 3 steps in a row .* clip5, clip6") as stop:
        for number, kind in enumerate(kinds):
            spoil = BAD["NaN loss"] if kind == "bad" else lambda loss: loss
            take_step(small, optimizer, guard, spoil, number)
        guard.read()
    assert "optim.lr" in str(stop.value) and "frcore data check" in str(stop.value)


def test_a_clip_that_is_twice_in_a_batch_is_named_once(small, caplog):
    optimizer = build_optimizer(small, OptimConfig(lr=0.1))
    guard = StepGuard(small, optimizer, lambda index: ["a", "b", "a"])
    take_step(small, optimizer, guard, BAD["NaN loss"])
    assert caplog.text.rstrip().endswith("step skipped. Clips: a, b")


def test_flattened_buffers_are_still_the_model_s(small):
    names = {k: t.clone() for k, t in small.state_dict().items()}
    flats = flatten_buffers(small)
    assert differing(names, small.state_dict()) == set()
    assert sorted(str(f.dtype) for f in flats) == ["torch.bool", "torch.float32", "torch.int64"]
    small.load_state_dict({k: torch.ones_like(t) for k, t in names.items()})
    assert all((f == 1).all() for f in flats)


# In the whole: NaN clips reach the loss of a recogniser with FR Head.


def spoil_clips(monkeypatch, steps):
    """The batches of these training steps (from 1) are NaN."""
    calls, make = [], ClipPipeline.__call__

    def spoiled(self, index, **options):
        clips = make(self, index, **options)
        if self.training:
            calls.append(index)
            if len(calls) in steps:
                clips[0] = math.nan
        return clips

    monkeypatch.setattr(ClipPipeline, "__call__", spoiled)
    return calls


def spoil_gradients(monkeypatch, steps):
    """After a finite loss, one gradient of these training steps (from 1) is NaN."""
    calls, step = [], StepGuard.step

    def spoiled(self, loss, index, position):
        calls.append(index)
        if len(calls) in steps:
            assert loss.isfinite()
            self.parameters[0].grad.view(-1)[0] = math.nan
        return step(self, loss, index, position)

    monkeypatch.setattr(StepGuard, "step", spoiled)
    return calls


@pytest.mark.parametrize("spoil", [spoil_clips, spoil_gradients])
def test_fault_08_09_a_bad_step_leaves_batch_norm_prototypes_and_the_log_untouched(
    spoil, monkeypatch, tiny_config, tmp_path, caplog
):
    batches = spoil(monkeypatch, {2})
    changed, train_step = [], Trainer._train_step

    def watched(self, *batch):
        before = snapshot(self.model, self.optimizer)
        views = int(self.record.sums["views"])
        train_step(self, *batch)
        changed.append(
            (
                differing(before, snapshot(self.model, self.optimizer)),
                int(self.record.sums["views"]) - views,
            )
        )

    monkeypatch.setattr(Trainer, "_train_step", watched)
    one_epoch = {"train.epochs": 1, "optim.warmup_epochs": 0, "data.val_subjects": []}
    run = frcore.fit(tiny_config, out=tmp_path / "run", **one_epoch)
    (first, bad, last) = changed
    assert bad == (set(), 0)
    for names, views in (first, last):
        assert views in (24, 16)
        assert any("running_mean" in name for name in names)
        assert any("num_batches_tracked" in name for name in names)
        assert any("prototypes" in name for name in names)
        assert any(name.startswith("optim.") for name in names)
    row = run.metrics.iloc[0]
    assert row["skipped_steps"] == 1 and row["tp"] + row["fn"] == 40
    assert math.isfinite(row["loss"]) and math.isfinite(row["cl_fin_spatial"])
    ids = frcore.data.open_store("tiny").split("train")["sample_id"].tolist()
    named = re.search(r"step 2: .* Clips: (.*)", caplog.text)[1].split(", ")
    assert named == list(dict.fromkeys(ids[i] for i in batches[1].tolist()))


def test_fault_08_the_command_line_exits_2_after_three_bad_steps(
    monkeypatch, tiny_config, tmp_path
):
    spoil_clips(monkeypatch, {2, 3, 4})
    config = tmp_path / "bad.yaml"
    config.write_text(yaml.safe_dump(load_recipe(tiny_config).model_dump(mode="json")))
    result = CliRunner().invoke(app, ["train", str(config), "--out", str(tmp_path / "run")])
    assert result.exit_code == 2
    assert "epoch 2, step 1: 3 steps in a row" in result.stderr
    assert "Traceback" not in result.stderr
    assert frcore.Run.open(tmp_path / "run").metrics["skipped_steps"].tolist() == [2]
