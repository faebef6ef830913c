"""What a recipe takes: sizes counted anew by hand, decisions as training makes them."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from frcore import residence, splits
from frcore.config import load_recipe
from frcore.doctor import recipe
from frcore.doctor.recipe import look_at_recipe, recipe_advice, recipe_findings
from frcore.errors import UserError
from frcore.recognizer import build_recognizer
from frcore.run_dir import RunDir
from frcore.train import Trainer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config(tiny_store, tiny_config):
    return load_recipe(tiny_config)


@pytest.fixture(scope="module")
def needs(config):
    return look_at_recipe(config, CPU, torch.float32)


@pytest.fixture
def free(monkeypatch):
    """Says how much memory is free, to training and to the doctor."""

    def set_free(size):
        for module in (residence, recipe, splits):
            monkeypatch.setattr(module, "free_memory", lambda device: size)

    return set_free


def test_parameters_steps_and_clips_are_those_of_training(config, needs, tmp_path):
    with RunDir(tmp_path / "run") as directory:
        trainer = Trainer(config, recipe.existing_store("tiny"), directory, CPU)
    sizes = {name: p.numel() for name, p in trainer.model.named_parameters()}
    head = sum(size for name, size in sizes.items() if name.startswith("head."))
    assert (needs.parameters, needs.head_parameters) == (sum(sizes.values()) - head, head)
    assert needs.steps == trainer.steps_per_epoch == 3
    trained = {split: (len(p.clips), p.size, p.resident) for split, p in trainer.splits.all.items()}
    told = {place.split: (place.clips, place.size, place.resident) for place in needs.places}
    assert told == trained


def test_memory_is_what_a_step_keeps(config, needs, tiny_store):
    benchmark = tiny_store.benchmark
    model = build_recognizer(config, benchmark)
    floats = sum(p.numel() for p in model.parameters())
    buffers = sum(b.numel() for b in model.buffers())
    assert needs.state == 4 * (3 * floats + buffers)

    kept, n = {}, config.train.batch_size
    own = {t.data_ptr() for t in (*model.parameters(), *model.buffers())}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    clips, labels = torch.randn(n, 3, 16, 25, 1), torch.arange(n) % 5
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model.train()(clips)
        loss = F.cross_entropy(out.logits, labels) + model.head(out.stages, labels, out.logits).loss
    loss.backward()
    assert needs.activations == pytest.approx(sum(kept.values()), rel=0.1)


def test_bfloat16_keeps_less(config, needs):
    assert look_at_recipe(config, CPU, torch.bfloat16).activations < 0.9 * needs.activations


def test_looking_changes_no_random_numbers_and_loads_nothing(config, monkeypatch):
    from frcore.data import augment

    monkeypatch.setattr(augment, "pack_frames", lambda *_: pytest.fail("loaded"))
    before = torch.get_rng_state()
    look_at_recipe(config, CPU, torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("share", [0.3, 0.7, 1.2, 1.9, 2.1, 2.3, 4.0])
def test_clips_lie_where_training_would_put_them(config, tiny_store, monkeypatch, share):
    """Free memory sinks by what training has loaded, as on a device."""
    sizes = {
        split: splits.load_split(tiny_store, split, config.data, CPU).size
        for split in ("train", "val", "test")
    }
    start, loaded = int(share * sum(sizes.values())), []
    monkeypatch.setattr(residence, "free_memory", lambda device: start - sum(loaded))
    from frcore.data.augment import ClipPipeline

    load = ClipPipeline.load

    def load_and_count(self):
        loaded.append(self.size)
        load(self)

    monkeypatch.setattr(ClipPipeline, "load", load_and_count)
    trained = splits.load_splits(tiny_store, config, CPU).all
    loaded.clear()
    told = recipe.places_of(tiny_store, config, CPU)
    assert {p.split: p.resident for p in told} == {s: p.resident for s, p in trained.items()}


def test_residence_that_is_asked_for_decides(config, tiny_store, free):
    free(1)
    asked = load_recipe(config, {"data.residence": "device"})
    assert all(place.resident for place in recipe.places_of(tiny_store, asked, CPU))
    free(10**12)
    asked = load_recipe(config, {"data.residence": "stream"})
    needs = look_at_recipe(asked, CPU, torch.float32)
    assert not any(place.resident for place in needs.places)
    assert "--set data.residence=auto: the clips would fit" in recipe_advice(needs)[0]


def test_too_little_memory_or_disk_is_said(needs):
    assert recipe_advice(needs) == []
    (no_weights,) = recipe_advice(dataclasses.replace(needs, free=needs.state - 1))
    assert no_weights.startswith("A smaller model: its weights alone take")
    full = dataclasses.replace(needs, free_disk=needs.checkpoints - 1)
    assert recipe_advice(full)[0].startswith("Make room where runs lies")


def test_advice_on_memory_is_about_what_is_large(needs):
    """Beside the weights, room for half of a batch of 24: 0.8 of that are 9.6 clips, so 8."""
    small = dataclasses.replace(needs, free=needs.state + needs.activations // 2)
    (text,) = recipe_advice(small)
    assert text.startswith("--set train.batch_size=8, or another smaller one: a batch of 24 takes")
    assert "data.residence" not in text
    (text,) = recipe_advice(dataclasses.replace(needs, free=needs.state + 1))
    assert text.startswith("--set train.batch_size=1,")
    (text,) = recipe_advice(dataclasses.replace(needs, free=needs.memory + 1))
    assert text.startswith("--set data.residence=stream, or a smaller train.batch_size: the clips")


def test_checkpoints_take_no_more_than_is_said(needs, trained):
    size = (trained.path / "last.safetensors").stat().st_size
    assert 3 * size < needs.checkpoints < 6 * size


def test_what_a_recipe_takes_is_told_in_words(needs):
    rows = {finding.name: finding for finding in recipe_findings(needs)}
    assert rows["model"].shown == "ctrgcn_tiny+fr"
    assert rows["parameters"].shown.startswith(
        f"{needs.parameters:,} and {needs.head_parameters:,}"
    )
    assert rows["steps an epoch"].value == 3
    assert rows["clips"].value["val"]["clips"] == 12 and "train" in rows["clips"].shown
    assert "a batch of 24" in rows["memory"].why


def test_clips_that_are_not_there_are_no_error_and_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "data"))
    for name in ("synthetic_tiny", "nw_ucla_joint"):
        needs = look_at_recipe(load_recipe(name), CPU, torch.float32)
        rows = {finding.name: finding for finding in recipe_findings(needs)}
        assert rows["clips"].value is None and rows["clips"].why.startswith("no store '")
        assert "\n  frcore data prepare" in needs.absent
        assert needs.steps is None and rows["steps an epoch"].shown == "unknown"
    assert not (tmp_path / "data").exists()


def test_a_model_that_cannot_be_built_is_the_error_of_training(config):
    with pytest.raises(UserError, match="ctrgcn_tinny"):
        look_at_recipe(load_recipe(config, {"model.backbone": "ctrgcn_tinny"}), CPU, torch.float32)
