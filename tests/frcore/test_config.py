"""Configurations: all mistakes at once with near names, recipes that extend, and their hash."""

from typing import Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

from frcore.config import (
    DEFAULTS_VERSION,
    DataConfig,
    HeadConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
    TransformConfig,
    load_recipe,
)
from frcore.config_errors import ConfigError
from frcore.errors import UserError
from frcore.recipe_files import list_recipes

BASE = {"name": "base", "benchmark": "synthetic"}
# fmt: off
DEFAULTS = {  # of version 1, those that shape results
    "protocol": None, "stream": "joint", "duplicates": "drop", "val_subjects": [], "repeats": 1,
    "persons": None, "frames": None, "sampling": "crop_resize", "center": True,
    "normalize": "none", "rotation": [0.0, 0.0, 0.0], "whole_degrees": False, "scale": [1.0, 1.0],
    "crop": [0.5, 1.0], "test_crop": 0.95,
    "backbone": "ctrgcn", "overrides": {}, "dropout": 0.0,
    "weight": 0.1, "levels": [1, 5, 8, 10], "level_weights": [0.1, 0.2, 0.5, 1.0],
    "decouple": True, "hidden": 256, "anchors": "true_positive", "use_fn": True, "use_fp": True,
    "confidence_weight": True, "temperature": 0.125, "warm_start": False, "tp_threshold": 0.0,
    "lr": 0.1, "nesterov": True, "weight_decay": 4e-4, "schedule": "step", "milestones": [35, 55],
    "gamma": 0.1, "warmup_epochs": 5, "label_smoothing": 0.0, "momentum": 0.9,
    "epochs": 65, "batch_size": 64, "precision": "auto", "select": "last",
}
# fmt: on


def mistakes(recipe, overrides=None):
    with pytest.raises(ConfigError) as error:
        load_recipe(recipe, overrides)
    return str(error.value)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files in a folder which is not the current one; gives the path of the first."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def write_files(**files):
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        return tmp_path / f"{next(iter(files))}.yaml"

    return write_files


# ---- recipes -------------------------------------------------------------------------------------


def test_every_shipped_recipe_loads_and_says_what_it_is():
    recipes = list_recipes()
    assert {"synthetic_tiny", "synthetic_tiny_frhead"} <= set(recipes)
    for name, description in recipes.items():
        config = load_recipe(name)
        assert config.name == name
        assert description
        assert (config.head is not None) == name.endswith("_frhead")


def test_a_recipe_and_its_frhead_sibling_differ_in_the_head_only():
    for name in (n for n in list_recipes() if n.endswith("_frhead")):
        with_head = load_recipe(name).model_dump(exclude={"name", "description", "head"})
        plain = load_recipe(name.removesuffix("_frhead"))
        assert with_head == plain.model_dump(exclude={"name", "description", "head"})


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(
        UserError, match="Unknown recipe 'sinthetic_tiny'. Did you mean 'synth.*: frcore recipes$"
    ):
        load_recipe("sinthetic_tiny")
    with pytest.raises(ConfigError, match=r"No configuration file at 'nowhere.yaml'"):
        load_recipe("nowhere.yaml")


def test_a_recipe_holds_only_what_differs_from_the_one_it_extends(write):
    path = write(
        mine="{extends: middle.yaml, optim: {lr: 0.5}}",
        middle="{extends: synthetic_tiny_frhead, head: {momentum: 0.5}, optim: {gamma: 0.5}}",
    )
    config, shipped = load_recipe(path), load_recipe("synthetic_tiny_frhead")
    assert config.name == "mine"  # not the extended one's
    assert (config.optim.lr, config.optim.gamma) == (0.5, 0.5)
    assert config.optim.weight_decay == shipped.optim.weight_decay
    assert config.head.momentum == 0.5
    assert config.data == shipped.data
    assert load_recipe({"extends": str(path), "name": "third"}).head.momentum == 0.5


def test_a_head_can_be_added_and_taken_away(write):
    assert load_recipe(BASE).head is None
    assert load_recipe({**BASE, "head": {}}).head.weight == 0.1
    assert load_recipe(BASE, {"head": {}}).head.levels == (1, 5, 8, 10)
    assert load_recipe(BASE, {"head": {"use_fp": False}}).head.use_fp is False
    assert load_recipe(BASE, {"head": {}, "head.use_fp": False}).head.use_fp is False
    assert load_recipe("synthetic_tiny_frhead", {"head.use_fp": False}).head.use_fp is False
    assert load_recipe("synthetic_tiny_frhead", {"head": None}).head is None
    assert load_recipe(write(plain="{extends: synthetic_tiny_frhead, head: null}")).head is None
    assert load_recipe("synthetic_tiny").model_name == "ctrgcn_tiny"
    assert load_recipe("synthetic_tiny_frhead").model_name == "ctrgcn_tiny+fr"


def test_a_value_of_a_head_that_is_not_there_does_not_switch_one_on():
    text = mistakes("synthetic_tiny", {"head.use_fp": False, "head.weight": 2, "optim.lr": 0})
    assert text.startswith("3 mistakes in synthetic_tiny:")
    for key in ("head.use_fp", "head.weight"):
        assert f"  {key}: there is no FR Head here to change." in text


def test_circles_are_refused_and_named(write):
    path = write(a="extends: b.yaml", b="extends: c.yaml", c="extends: a.yaml")
    text = mistakes(path)
    assert "in a circle" in text
    assert [step.rsplit("/", 1)[-1] for step in text.removesuffix(".").split(" -> ")] == [
        *("a.yaml", "b.yaml", "c.yaml", "a.yaml")
    ]
    assert "in a circle" in mistakes(write(own="extends: own.yaml"))


def words_of(model):
    """(key, word) for every word of every vocabulary."""
    for key, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if get_origin(kind) is Literal:
                yield from ((key, word) for word in get_args(kind))


SECTIONS = {"data": DataConfig, "data.transform": TransformConfig, "optim": OptimConfig}
SECTIONS |= {"head": HeadConfig, "train": TrainConfig}


@pytest.mark.parametrize(
    ("key", "word"),
    [(f"{name}.{key}", word) for name, model in SECTIONS.items() for key, word in words_of(model)],
)
def test_every_word_can_be_written_in_yaml_as_it_is(write, key, word):
    """YAML 1.1 reads a bare `off` as false."""
    *sections, field = key.split(".")
    text = f"{{{field}: {word}}}"
    for section in reversed(sections):
        text = f"{{{section}: {text}}}"
    path = write(own=f"{{extends: synthetic_tiny_frhead, {text[1:-1]}}}")
    found = load_recipe(path)
    for name in key.split("."):
        found = getattr(found, name)
    assert found == word


def test_on_is_no_way_to_compile(write):
    text = mistakes(write(own="{extends: synthetic_tiny, train: {compile: on}}"))
    assert "train.compile: Input should be 'off', 'default'" in text and "not True" in text


# ---- overrides -----------------------------------------------------------------------------------


def test_overrides_are_nested_or_dotted():
    nested = load_recipe(BASE, {"optim": {"lr": 0.5}, "data": {"transform": {"frames": 9}}})
    dotted = load_recipe(BASE, {"optim.lr": 0.5, "data.transform.frames": 9})
    mixed = load_recipe(BASE, {"optim": {"lr": 0.5}, "data": {"transform.frames": 9}})
    assert nested == dotted == mixed
    assert (nested.optim.lr, nested.data.transform.frames) == (0.5, 9)
    assert nested.optim.momentum == RunConfig(**BASE).optim.momentum  # neighbours stay
    both = load_recipe(BASE, {"optim.lr": 0.5, "optim": {"gamma": 0.5}})
    assert (both.optim.lr, both.optim.gamma) == (0.5, 0.5)


def test_overrides_apply_to_a_config_and_leave_it_as_it_was():
    config = load_recipe(BASE, {"optim.gamma": 0.5})
    changed = load_recipe(config, {"optim.lr": 0.5})
    assert (changed.optim.lr, changed.optim.gamma) == (0.5, 0.5)
    assert config.optim.lr == 0.1
    assert load_recipe(config) == config
    with pytest.raises(ValidationError):
        config.seed = 1


def test_a_config_survives_json():
    config = load_recipe("synthetic_tiny_frhead", {"data.val_subjects": [1, "S02"]})
    assert load_recipe(config.model_dump(mode="json")) == config


# ---- mistakes ------------------------------------------------------------------------------------


def test_fault_19_all_mistakes_are_reported_at_once():
    text = mistakes(
        {
            "name": "bad name",
            "seed": -1,
            "optim": {"lr": float("nan"), "lerning_rate": 0.1, "warmup_epochs": "many"},
            "data": {"stream": "bones", "transform": {"scale": [2, 1]}},
            "head": {"levels": [1, 2], "temperature": 0},
            "train": {"device": "gpu"},
        }
    )
    lines = text.splitlines()
    assert lines[0] == "11 mistakes in configuration:"
    assert len(lines) == 12
    for expected in (
        "  name: must be 1 to 100 letters, digits,",
        "  benchmark: required, but missing.",
        "  seed: Input should be greater than or equal to 0, not -1.",
        "  optim.lr: Input should be a finite number, not nan.",
        "  optim.lerning_rate: unknown key. Did you mean 'lr'? Known here: gamma, label_smoothing,",
        "  optim.warmup_epochs: Input should be a valid integer",
        "  data.stream: Input should be 'joint', 'bone', 'joint_motion' or 'bone_motion', not 'bo",
        "  data.transform.scale: must be (low, high) with 0 < low <= high, not (2.0, 1.0).",
        "  head.level_weights: 2 levels need as many weights, not 4.",
        "  head.temperature: Input should be greater than 0, not 0.",
        "  train.device: must be auto, cpu, cuda or cuda:<number>, not 'gpu'",
    ):
        assert any(line.startswith(expected) for line in lines), expected


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optim.lerning_rate", "lr"),
        ("optim.learning_rate", "lr"),
        ("lr", "optim.lr"),
        ("optim.wd", "weight_decay"),
        ("optim.momentm", "momentum"),
        ("train.batch", "batch_size"),
        ("train.num_epochs", "epochs"),
        ("epochs", "train.epochs"),
        ("optim.epochs", "train.epochs"),
        ("dataset", "benchmark"),
        ("hed", "head"),
        ("data.transform.normalise", "normalize"),
        ("frames", "data.transform.frames"),
    ],
)
def test_fault_19_a_wrong_key_names_the_right_one(key, meant):
    assert f"  {key}: unknown key. Did you mean '{meant}'? Known here: " in mistakes(BASE, {key: 1})


@pytest.mark.parametrize(
    ("key", "meant"), [("head.tau", "temperature"), ("head.use_f_n", "use_fn")]
)
def test_a_wrong_key_of_the_head_names_the_right_one(key, meant):
    known = f"  {key}: unknown key. Did you mean '{meant}'? Known here: "
    assert known in mistakes({**BASE, "head": {}}, {key: 1})


def test_a_key_near_nothing_lists_what_there_is():
    assert "  xyzzy: unknown key. Known here: benchmark, data, desc" in mistakes(BASE, {"xyzzy": 1})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optim.lr": 0}, "optim.lr: Input should be greater than 0, not 0"),
        ({"optim.lr": float("inf")}, "optim.lr: Input should be a finite number"),
        ({"optim.lr": "fast"}, "optim.lr: Input should be a valid number"),
        (
            {"optim.weight_decay": -1e-4},
            "optim.weight_decay: Input should be greater than or equal",
        ),
        ({"optim": 3}, "optim: Input should be a mapping of keys, not 3"),
        ({"head": 3}, "head: Input should be a mapping of keys, not 3"),
        ({"train.epochs": 0}, "train.epochs: Input should be greater than or equal to 1"),
        ({"train.epochs": 2.5}, "train.epochs: Input should be a valid integer"),
        ({"train.epochs": True}, "train.epochs: must be a number, not True"),
        ({"data.persons": True}, "data.persons: must be a number, not True"),
        ({"optim.lr": False}, "optim.lr: must be a number, not False"),
        ({"train.precision": "fp16"}, "'auto', 'fp32' or 'bf16', not 'fp16'"),
        ({"data.transform.test_crop": 1.5}, "less than or equal to 1, not 1.5"),
        ({"data.transform.crop": [0, 1]}, "crop: must be (low, high) with 0 < low <= high <= 1,"),
        ({"data.transform.crop": [0.5, 2]}, "crop: must be (low, high) with 0 < low <= high <= 1,"),
        ({"data.transform.rotation": [0, 0]}, "data.transform.rotation.2: required, but missing"),
        ({"data.transform.rotation": [0, 200, 0]}, "three angles in 0..180 degrees"),
        # what contradicts itself
        ({"optim.momentum": 0}, "optim.nesterov: needs optim.momentum above 0"),
        ({"optim.milestones": [55, 35]}, "optim.milestones: must increase, not (55, 35)"),
        ({"head": {"levels": [1, 5]}}, "head.level_weights: 2 levels need as many weights, not 4"),
        (
            {"head": {"levels": [5, 1], "level_weights": [1, 1]}},
            "levels: must be increasing block numbers from 1",
        ),
        (
            {"head": {"levels": [], "level_weights": []}},
            "levels: must be increasing block numbers from 1",
        ),
        ({"head": {"use_fn": 1}}, "head.use_fn: Input should be a valid boolean, not 1"),
        ({"train.deterministic": "yes"}, "train.deterministic: Input should be a valid boolean"),
    ],
)
def test_fault_19_a_wrong_value_is_refused_with_its_key(overrides, message):
    text = mistakes(BASE, overrides)
    assert text.startswith("1 mistake in configuration:\n  ")
    assert message in text


def test_a_long_value_is_shown_in_short():
    assert len(mistakes(BASE, {"optim.lr": "x" * 10_000})) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!python/object/apply:os.system [echo hello]", "is not plain YAML"),
        ("optim: !!python/name:os.system", "is not plain YAML"),
        ("optim: {lr: 1", "is not plain YAML"),
        ("- optim", "must hold a mapping of keys, not list"),
        ("", "must hold a mapping of keys, not NoneType"),
        ("1: 2\nbenchmark: synthetic", "  1: Keys should be strings"),
        # what PyYAML's own constructors raise is no YAMLError
        ("seed: 2001-13-40", "is not plain YAML: month must be in 1..12"),
        (f"seed: {'9' * 5000}", "is not plain YAML: Exceeds the limit"),
        ("seed: !!int ''", "is not plain YAML"),
        ("seed: !!bool x", "is not plain YAML"),
        # what is short in the file and endless in memory
        ("data: &d {transform: *d}", "an alias (*) stands there; write the value itself"),
        ("a: &a [1, 2]\nb: [*a, *a]", "an alias (*) stands there"),
        (f"optim: {'[' * 50_000}", "values lie in more than 50 others"),
        ('extends: "\\0.yaml"', "No configuration file at"),
    ],
)
def test_fault_15_what_is_no_plain_mapping_is_refused_and_the_file_named(text, message, write):
    path = write(bad=text)
    assert message in mistakes(path)
    assert str(path) in mistakes(path) or "extends" in text


def test_a_key_that_stands_twice_is_refused(write):
    text = mistakes(write(bad="benchmark: synthetic\noptim:\n  lr: 0.1\n  lr: 0.2"))
    assert "lr stands there twice" in text and "line 3" in text


def test_a_run_s_own_configuration_and_any_file_name_are_recipes(write, tmp_path):
    config = load_recipe("synthetic_tiny_frhead", {"seed": 3})
    (tmp_path / "config.json").write_text(config.model_dump_json())
    assert load_recipe(tmp_path / "config.json") == config
    path = write(**{"my recipe (2)": "extends: synthetic_tiny"})
    assert load_recipe(path).name == "my_recipe_2_"


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert f"{path} cannot be read as text" in mistakes(path)


# ---- hash ----------------------------------------------------------------------------------------


def test_the_hash_ignores_names_and_places_only():
    config = load_recipe(BASE)
    same = {"name": "other", "description": "x", "train.device": "cuda:1", "train.threads": 3}
    assert load_recipe(BASE, same).hash == config.hash
    assert load_recipe(config.model_dump(mode="json")).hash == config.hash
    assert len(config.hash) == 16
    for change in (
        {"seed": 1},
        {"benchmark": "nw_ucla"},
        {"head": {}},
        {"optim.lr": 0.2},
        {"model.overrides": {"width": 8}},
        {"data.val_subjects": [1]},
        {"train.precision": "fp32"},
        {"train.deterministic": True},
    ):
        assert load_recipe(BASE, change).hash != config.hash, change


def test_the_hash_of_a_run_stays_when_a_later_version_adds_a_key():
    class LaterTrain(TrainConfig):
        new_key: int = 3

    class Later(RunConfig):
        new_section: DataConfig = DataConfig()
        train: LaterTrain = LaterTrain()

    fields = {**BASE, "train": {"epochs": 7}, "head": {"levels": [1], "level_weights": [1]}}
    assert Later.model_validate(fields).hash == RunConfig.model_validate(fields).hash
    fields["train"]["new_key"] = 4
    assert Later.model_validate(fields).hash != load_recipe(BASE, {"train.epochs": 7}).hash


def test_a_changed_default_is_noticed():
    """It changes what old configurations mean: then DEFAULTS_VERSION has to be raised with it."""
    config = RunConfig(name="x", benchmark="b", head={}).model_dump(mode="json")
    sections = [config[name] for name in ("data", "head", "model", "optim", "train")]
    found = {key: value for section in sections for key, value in section.items()}
    found |= found.pop("transform")
    assert DEFAULTS_VERSION == 1
    assert found.items() >= DEFAULTS.items()
