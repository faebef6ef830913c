"""Which clips train, which judge, and which of the judges were trained on as well."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from frcore.config import load_recipe
from frcore.data.clips import ClipRecord
from frcore.data.store import read_store, write_store
from frcore.errors import UserError
from frcore.splits import load_split, load_splits

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def subjects_store(make_store):
    """No clips to validate; subjects 1 to 4 train, 5 tests."""
    split = ["train"] * 44 + ["test"] * 20
    return make_store("subjects", split=split, subjects=[1 + i // 11 for i in range(44)] + [5] * 20)


def splits_of(store, config, **changes):
    return load_splits(
        store, load_recipe(config, {"benchmark": store.benchmark.name} | changes), CPU
    )


def ids(pipeline):
    return pipeline.clips.sample_ids


def test_every_split_has_its_own_clips_and_only_training_is_augmented(tiny_store, tiny_config):
    splits = splits_of(tiny_store, tiny_config)
    assert {name: len(p.clips) for name, p in splits.all.items()} == {
        "train": 32,
        "val": 12,
        "test": 20,
    }
    assert len({i for p in splits.all.values() for i in ids(p)}) == 64
    assert splits.train.training and not any(p.training for p in splits.judges.values())
    assert splits.unseen == {}


def test_clips_come_at_the_benchmarks_length_unless_the_recipe_says_otherwise(
    tiny_store, tiny_config
):
    for frames, seen in ((None, tiny_store.benchmark.num_frames), (9, 9)):
        test = splits_of(tiny_store, tiny_config, **{"data.transform.frames": frames}).judges[
            "test"
        ]
        assert test(torch.arange(2)).shape[2] == seen


@pytest.mark.parametrize("centered", [True, False])
def test_centred_clips_stay_where_they_are(tiny_store, tiny_config, tmp_path, centered):
    benchmark = replace(tiny_store.benchmark, name="placed", centered=centered)
    clip = tiny_store.clip(tiny_store.samples.sample_id[0]) + 1  # (T, M, V, C)
    records = [
        ClipRecord(f"{split}{k}", k, clip, dict.fromkeys(benchmark.protocols, split))
        for split in ("train", "test")
        for k in range(2)
    ]
    store = write_store(tmp_path / "placed", benchmark, records)
    assert read_store(store.path).benchmark.centered is centered
    changes = {"data.stream": "joint", "data.transform.frames": len(clip)}
    data = load_recipe(tiny_config, {**changes, "data.transform.sampling": "random_frames"}).data
    first = load_split(store, "test", data, CPU)(torch.tensor([0]))[0, :, 0, :, 0]  # (C, V)
    origin = 0 if centered else clip[0, 0, store.benchmark.skeleton.center]
    np.testing.assert_allclose(first.T, clip[0, 0] - origin, atol=1e-6)
    whole, other = store.fingerprint, replace(benchmark, centered=not centered)
    assert write_store(tmp_path / "other", other, records).fingerprint != whole


def test_training_clips_can_be_seen_as_in_evaluation(tiny_store, tiny_config):
    data = load_recipe(tiny_config).data
    index = torch.arange(4)
    once, twice = (load_split(tiny_store, "train", data, CPU)(index, epoch=e) for e in (0, 1))
    assert torch.equal(once, twice)
    augmented = load_split(tiny_store, "train", data, CPU, training=True)(index)
    assert not torch.equal(augmented, once)


@pytest.mark.parametrize(("duplicates", "train", "val"), [("drop", 29, 11), ("keep", 32, 12)])
def test_copies_of_test_clips_are_dropped_or_kept_and_known_either_way(
    duplicates, train, val, copied_store, tiny_config, caplog
):
    splits = splits_of(copied_store, tiny_config, **{"data.duplicates": duplicates})
    assert (len(splits.train.clips), len(splits.judges["val"].clips)) == (train, val)
    test = splits.judges["test"]
    assert len(test.clips) == 20
    unseen = splits.unseen["test"].tolist()
    seen = [i for i, own in zip(ids(test), unseen, strict=True) if not own]
    assert seen == ["test/000000", "test/000001", "test/000002"]
    assert "3 of 20 test clips are copies" in caplog.text and f"'{duplicates}'" in caplog.text
    told = "3 of 32 training clips are left out: their content is also in val or test"
    assert (told in caplog.text) is (duplicates == "drop")
    for name in seen:
        original = copied_store.clip(name)
        same = [np.array_equal(original, clip) for clip in splits.train.clips.arrays]
        assert sum(same) == (1 if duplicates == "keep" else 0)


def test_val_subjects_leave_training(subjects_store, tiny_config):
    splits = splits_of(subjects_store, tiny_config, **{"data.val_subjects": [2, "4"]})
    people = subjects_store.samples.set_index("sample_id")["subject"].astype(str)
    assert set(people[ids(splits.train)]) == {"1", "3"}
    assert set(people[ids(splits.judges["val"])]) == {"2", "4"}
    assert set(people[ids(splits.judges["test"])]) == {"5"}
    with pytest.raises(UserError, match=r"val_subjects \[5\] have no training clips"):
        splits_of(subjects_store, tiny_config, **{"data.val_subjects": [5]})


def test_a_selection_needs_its_split(subjects_store, tiny_config):
    assert set(splits_of(subjects_store, tiny_config).judges) == {"test"}
    with pytest.raises(UserError, match="needs a split 'val'.*data.val_subjects"):
        splits_of(subjects_store, tiny_config, **{"train.select": "val_best"})


def test_training_needs_clips(make_store, tiny_config):
    store = make_store("test_only", split=["test"] * 64)
    with pytest.raises(UserError, match="has no training clips in protocol 'default'"):
        splits_of(store, tiny_config)
    clip = store.clip(store.samples.sample_id[0])
    copies = make_store("copies", clips=[clip.transpose(0, 2, 3, 1)] * 64)
    with pytest.raises(UserError, match=r"All 32 training clips .* 'keep' trains on them"):
        splits_of(copies, tiny_config)
    benchmark = replace(store.benchmark, name="one_protocol", protocols=("xsub", "xview"))
    places = [{"xsub": "train"}, {"xsub": "test", "xview": "test"}]
    records = [ClipRecord(f"s{k}", 0, clip + k, splits) for k, splits in enumerate(places)]
    store = write_store(store.path.parent / "one_protocol", benchmark, records)
    with pytest.raises(UserError, match=r"in protocol 'xview'\. Protocols that have some: xsub\."):
        splits_of(store, tiny_config, **{"data.protocol": "xview"})


def test_persons_are_those_of_the_configuration_or_of_the_benchmark(tiny_store, tiny_config):
    index = torch.arange(2)
    assert splits_of(tiny_store, tiny_config).train(index).shape == (2, 3, 16, 25, 1)
    two = splits_of(tiny_store, tiny_config, **{"data.persons": 2})
    assert two.train(index).shape == (2, 3, 16, 25, 2)


@pytest.mark.parametrize(
    ("spare", "residence", "resident"),
    [(0, "auto", True), (-1, "auto", False), (-1, "device", True), (0, "stream", False)],
)
def test_clips_are_on_the_device_if_they_take_half_of_what_is_free_there_at_most(
    spare, residence, resident, monkeypatch, tiny_store, tiny_config
):
    size = 4 * int(tiny_store.split("test")["num_frames"].sum()) * 25 * 3
    monkeypatch.setattr("frcore.residence.free_memory", lambda device: 2 * size + spare)
    data = load_recipe(tiny_config, {"data.residence": residence}).data
    pipeline = load_split(tiny_store, "test", data, CPU)
    assert (pipeline.size, pipeline.resident) == (size, resident)


def test_one_line_says_where_the_clips_are(monkeypatch, tiny_store, tiny_config, caplog):
    sizes = {
        split: 300 * int(tiny_store.split(split)["num_frames"].sum())
        for split in ("train", "val", "test")
    }
    free = 2 * sizes["test"]  # train is larger
    for module in ("residence", "splits"):
        monkeypatch.setattr(f"frcore.{module}.free_memory", lambda device: free)
    with caplog.at_level("INFO"):
        splits_of(tiny_store, tiny_config)
    shown = {split: f"{size / 1e6:.1f} MB" for split, size in sizes.items()}
    (line,) = (m for m in caplog.messages if m.startswith("Clips:"))
    assert line == (
        f"Clips: train {shown['train']} streamed from disk, val {shown['val']} on cpu, "
        f"test {shown['test']} on cpu ({free / 1e6:.1f} MB were free on cpu)."
    )
