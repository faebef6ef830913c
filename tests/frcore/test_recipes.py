"""Shipped recipes of NTU RGB+D: names, values, and what distinguishes them."""

import math
from itertools import product

import numpy as np
import pytest
import yaml

import frcore
from frcore.config import load_recipe
from frcore.data.catalog import get_benchmark
from frcore.data.store import ClipRecord, write_store
from frcore.recipe_files import list_recipes, recipe_names

PROTOCOLS = [("ntu60", "xsub"), ("ntu60", "xview"), ("ntu120", "xsub"), ("ntu120", "xset")]
STREAMS = ("joint", "bone", "joint_motion", "bone_motion")
NAMES = {
    f"{benchmark}_{protocol}_{stream}{head}": (benchmark, protocol, stream)
    for (benchmark, protocol), stream, head in product(
        PROTOCOLS, (*STREAMS, "joint_paper"), ("", "_frhead")
    )
}


def test_each_protocol_stream_and_schedule_has_a_recipe_with_and_without_the_head():
    assert {name for name in recipe_names() if name.startswith("ntu")} == set(NAMES)
    assert len(NAMES) == 40


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_authors(name):
    benchmark, protocol, stream = NAMES[name]
    config = load_recipe(name)
    data, transform, optim, train = config.data, config.data.transform, config.optim, config.train
    assert (config.name, config.benchmark, data.protocol) == (name, benchmark, protocol)
    assert protocol in get_benchmark(benchmark).protocols
    assert data.stream == stream.removesuffix("_paper")
    assert (data.duplicates, data.repeats, data.persons, data.val_subjects) == ("drop", 1, None, ())
    assert (transform.sampling, transform.frames) == ("crop_resize", None)  # None: 64, of NTU
    assert get_benchmark(benchmark).num_frames == 64
    assert (transform.crop, transform.test_crop) == ((0.5, 1.0), 0.95)
    assert [math.radians(angle) for angle in transform.rotation] == pytest.approx(
        [0.3] * 3, abs=1e-15
    )
    assert transform.rotation_order == "xyz"  # the published Rz Ry Rx
    assert not transform.whole_degrees and transform.center and transform.normalize == "none"
    assert (transform.limb_scale, transform.scale) == ((0.8, 1.2), (1.0, 1.0))
    assert config.model.backbone == "ctrgcn" and config.model.overrides == {}
    assert (optim.lr, optim.weight_decay, optim.momentum, optim.nesterov) == (0.1, 4e-4, 0.9, True)
    assert (optim.schedule, optim.milestones, optim.gamma) == ("step", (35, 55), 0.1)
    assert (optim.warmup_epochs, optim.label_smoothing) == (5, 0.0)
    assert (train.epochs, train.batch_size) == (70 if "_paper" in name else 80, 64)
    assert train.select == "last"
    if name.endswith("_frhead"):
        assert config.head.anchors == "true_positive" and config.head.weight == 0.1
    else:
        assert config.head is None


def test_all_recipes_are_different_runs():
    hashes = {load_recipe(name).hash for name in recipe_names()}
    assert len(hashes) == len(recipe_names())


def test_descriptions_name_set_protocol_and_stream_or_the_recipe_they_are_like():
    long = {"ntu60": "NTU 60", "ntu120": "NTU 120", "xsub": "X-Sub", "xview": "X-View"}
    long |= {"xset": "X-Set"}
    for name, text in list_recipes().items():
        if name not in NAMES:
            continue
        benchmark, protocol, stream = NAMES[name]
        if text.startswith("The same as "):
            like = text.removeprefix("The same as ").partition(",")[0]
            assert like in NAMES and name.startswith(like)
        else:
            words = f"{long[benchmark]} {long[protocol]}, {stream.replace('_', ' ')} stream, "
            assert text.startswith(words), text


def test_extending_goes_to_plain_recipes_and_never_far(recipe_fields):
    for name in NAMES:
        steps, base = 0, name
        while base := recipe_fields(base).get("extends"):
            assert base in NAMES and not base.endswith("_frhead")
            steps += 1
        assert steps <= 4


@pytest.mark.parametrize("benchmark", ["ntu60", "ntu120"])
def test_a_recipe_of_each_protocol_trains(benchmark, tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "data"))
    record, rng = get_benchmark(benchmark), np.random.default_rng(0)
    records = [
        ClipRecord(
            f"S001C001P001R001A{number + 1:03}",
            number,
            rng.normal(size=(20 + number, 1 + number % 2, 25, 3)),
            {p: ("train", "test")[number % 3 == place] for place, p in enumerate(record.protocols)},
        )
        for number in range(12)
    ]
    write_store(tmp_path / "data" / benchmark, record, records)
    small = {"model.backbone": "ctrgcn_tiny", "model.overrides.width": 8, "train.epochs": 1}
    small |= {"train.batch_size": 4, "train.threads": 1, "data.transform.frames": 16}
    for protocol, stream in zip(record.protocols, ("bone_motion", "joint"), strict=True):
        name = f"{benchmark}_{protocol}_{stream}_frhead"
        run = frcore.fit(name, out=tmp_path / name, **small)
        assert run.state == "finished" and np.isfinite(run.metrics["loss"]).all()
        assert run.history["train_predicted"].shape == (1, 8)
        prediction = frcore.predict(run)
        assert prediction.logits.shape == (4, record.num_classes)
        assert prediction.metadata["protocol"] == protocol


@pytest.fixture
def recipe_fields():
    from importlib import resources

    folder = resources.files("frcore.recipes")
    return lambda name: yaml.safe_load(folder.joinpath(f"{name}.yaml").read_text())
