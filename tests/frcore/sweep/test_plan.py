"""A sweep's runs: what each table varies, directories by hash, command lines that give them."""

import shlex

import pytest
from typer.main import get_command

from frcore.cli import app
from frcore.commands import parse_changes
from frcore.config import load_recipe
from frcore.data.benchmarks import STREAMS
from frcore.data.catalog import get_benchmark
from frcore.errors import UserError
from frcore.recognizer import check_model
from frcore.run_dir import RunDir
from frcore.sweep.figures import count_parameters
from frcore.sweep.plan import base_recipe, make_plan
from frcore.sweep.tables import BASELINE, TABLES

RUNS = {"table1": 5, "table2": 9, "table3": 10, "table4": 2, "table5": 8}  # a seed


def sweep(table, benchmark="nw_ucla", **more):
    return make_plan(table, benchmark, **{"seeds": 1, **more})


@pytest.mark.parametrize("benchmark", ["nw_ucla", "synthetic", "ntu120"])
@pytest.mark.parametrize("table", TABLES)
def test_every_run_is_another_configuration_and_can_be_built(table, benchmark):
    plan = sweep(table, benchmark, seeds=2)
    jobs = plan.jobs
    assert len(jobs) == 2 * RUNS[table]
    assert len({job.config.hash for job in jobs}) == len({job.path for job in jobs}) == len(jobs)
    assert [job.seed for job in jobs] == sorted(job.seed for job in jobs)
    assert all(job.config.hash in job.path.name for job in jobs)
    for job in jobs[: RUNS[table]] if table in ("table2", "table3") else ():  # the others are there
        check_model(job.config, get_benchmark(benchmark))


@pytest.mark.parametrize("table", TABLES)
def test_rows_differ_from_the_recipe_in_what_the_table_varies_only(table):
    plan = sweep(table)
    for row in plan.table.rows:
        if row.members:
            assert all(plan.table[member].head == row.head for member in row.members)
            continue
        config = plan.grid[row.name, 0].config
        recipe = "nw_ucla_joint_frhead" if row.head else "nw_ucla_joint"
        assert config == load_recipe(recipe, dict(row.changes))
        if config.head is not None:
            assert config.head.anchors == "all"  # as the authors' NW-UCLA runs
        assert row.against is None or not plan.table[row.against].head


def test_table_1_has_the_parameters_of_the_paper():
    # CTR-GCN on NTU 120 (test_recognizer.py has the exact numbers); here 10 classes, 20 joints,
    # and the same head options.
    heads = [job.config.head for job in sweep("table1").jobs]
    assert heads[0] is None
    assert [(h.levels, h.decouple, h.hidden) for h in heads[1:]] == [
        ((10,), False, 256),
        ((10,), True, 256),
        ((1, 5, 8, 10), False, None),
        ((1, 5, 8, 10), True, 256),
    ]
    assert [h.level_weights for h in heads[1:3]] == [(1.0,), (1.0,)]


def test_table_3_counts_what_is_published_for_nw_ucla():
    counted = count_parameters(sweep("table3"), get_benchmark("nw_ucla"))
    exact = {
        "stgcn": (2_073_122, 2_580_427),
        "aagcn": (3_753_440, 4_260_745),
        "ctrgcn": (1_426_892, 1_934_197),
        "tcagcn": (4_948_884, 5_456_189),
    }
    for name, (plain, refined) in exact.items():
        assert round(1e6 * counted[name]) == plain
        assert round(1e6 * counted[f"{name} + FR Head"]) == refined


def test_a_tiny_recipe_gets_tiny_backbones_and_keeps_their_width():
    models = {job.config.model.backbone for job in sweep("table3", "synthetic").jobs}
    assert models == {f"{name}_tiny" for name in ("stgcn", "aagcn", "ctrgcn", "tcagcn", "hdgcn")}
    assert all(j.config.model.overrides == {"width": 8} for j in sweep("table3", "synthetic").jobs)


def test_tables_share_the_runs_that_are_the_same():
    paths = {name: {job.path for job in sweep(name).jobs} for name in TABLES}
    both = {sweep("table4").grid[row, 0].path for row in (BASELINE, "with FR Head")}
    assert all(both <= found for found in paths.values())


@pytest.mark.parametrize("table", TABLES)
def test_a_command_line_gives_exactly_its_run(table, tmp_path):
    changes = {"optim.lr": 1e-5, "data.val_subjects": [1, "b"], "model.dropout": 0.1}
    plan = sweep(table, "synthetic", protocol="xsub", changes=changes, device="cpu", out=tmp_path)
    options = get_command(app).commands["train"]
    for line, job in zip(plan.lines(), plan.jobs, strict=True):
        words = shlex.split(line)
        assert tuple(words) == job.command and words[:2] == ["frcore", "train"]
        given = options.make_context("train", words[2:]).params
        overrides = parse_changes(given["changes"]) | {"seed": given["seed"]}
        read = load_recipe(given["recipe"], overrides | {"train.device": given["device"]})
        assert read == job.config and given["out"] == job.path


def test_finished_runs_are_not_listed(plan_of, write_run):
    plan = plan_of()
    write_run(plan.jobs[0], [[1, 0]])
    write_run(plan.jobs[1], [[1, 0]], finished=False)
    assert [job.state for job in plan.jobs] == ["finished", "partial", "waiting", "waiting"]
    assert plan.lines() == [shlex.join(job.command) for job in plan.jobs[1:]]


def test_a_changed_configuration_is_another_directory(plan_of):
    before = {job.path for job in plan_of().jobs}
    assert before == {job.path for job in plan_of().jobs}
    assert before.isdisjoint(job.path for job in plan_of(changes={"optim.lr": 0.2}).jobs)
    assert before == {job.path for job in plan_of(device="cpu", changes={"train.threads": 3}).jobs}


def test_changes_of_the_head_are_for_rows_that_have_one():
    plan = sweep("table4", changes={"head.momentum": 0.8, "train.epochs": 7})
    plain, refined = (job.config for job in plan.jobs)
    assert plain.head is None and refined.head.momentum == 0.8
    assert plain.train.epochs == refined.train.epochs == 7


def test_quick_and_protocol_choose():
    assert base_recipe("nw_ucla") == "nw_ucla_joint"
    assert base_recipe("nw_ucla", quick=True) == "nw_ucla_joint_quick"
    assert base_recipe("synthetic", quick=True) == "synthetic_tiny"
    assert sweep("table4", protocol="xview").config.data.protocol == "xview"


def test_a_recipe_of_a_protocol_comes_before_that_of_all(monkeypatch):
    known = [name for base in ("ntu120_xsub_joint", "ntu120_joint")
             for name in (base, f"{base}_frhead")]  # fmt: skip
    monkeypatch.setattr("frcore.sweep.plan.recipe_names", lambda: known)
    assert base_recipe("ntu120") == "ntu120_xsub_joint"
    assert base_recipe("ntu120", "xset") == "ntu120_joint"


@pytest.mark.parametrize("benchmark", ["ntu60", "ntu120"])
def test_each_protocol_of_ntu_has_its_recipe(benchmark):
    for protocol in get_benchmark(benchmark).protocols:
        plan = sweep("table5", benchmark, protocol=protocol)
        assert plan.recipe == f"{benchmark}_{protocol}_joint" and plan.protocol == protocol
        assert {job.config.data.protocol for job in plan.jobs} == {protocol}
        assert {job.config.benchmark for job in plan.jobs} == {benchmark}
        recipes = [
            f"{benchmark}_{protocol}_{stream}{head}"
            for stream in STREAMS
            for head in ("", "_frhead")
        ]
        hashes = {job.config.hash for job in plan.jobs}
        assert hashes == {load_recipe(name).hash for name in recipes}
    assert sweep("table4", benchmark).protocol == "xsub"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table9", "synthetic"), "Unknown table 'table9'. Did you mean 'table"),
        (("table1", "nwucla"), "Did you mean 'nw_ucla'?"),
        (("table1", "ntu120", "xview"), "no recipe 'ntu120_xview_joint'"),
    ],
)
def test_mistakes_are_named(arguments, message):
    table, benchmark, *protocol = arguments
    with pytest.raises(UserError) as error:
        sweep(table, benchmark, protocol=protocol[0] if protocol else None)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("table", "more", "message"),
    [
        ("table1", {"changes": {"head.levels": [10]}}, "table1 varies that itself"),
        ("table5", {"changes": {"data.stream": "bone"}}, "table5 varies that itself"),
        ("table4", {"changes": {"seed": 3}}, "use --seeds"),
        ("table4", {"changes": {"optim.rl": 3}}, "optim.rl: unknown key"),
        ("table4", {"protocol": "xsub"}, "Unknown protocol 'xsub' of nw_ucla"),
        ("table4", {"benchmark": "ntu60", "quick": True}, "no recipe 'ntu60_xsub_joint_quick'"),
        ("table4", {"seeds": 0}, "seeds: expected 1 or more, got 0"),
    ],
)
def test_what_a_sweep_cannot_do_is_said(table, more, message):
    with pytest.raises(UserError) as error:
        sweep(table, **more)
    assert message in str(error.value)


def test_runs_on_other_clips_are_refused(plan_of, tiny_store, monkeypatch):
    plan = plan_of()
    path = plan.jobs[0].path / "last.safetensors"
    path.parent.mkdir(parents=True)
    path.touch()
    plan.check_runs(tiny_store)  # an empty file is a damaged one: `fit` knows what to do
    found = {"fingerprint": tiny_store.fingerprint}
    monkeypatch.setattr("frcore.sweep.plan.read_metadata", lambda path: found)
    plan.check_runs(tiny_store)
    found["fingerprint"] = "other"
    with pytest.raises(UserError, match="trained on other clips of 'tiny'"):
        plan.check_runs(tiny_store)


def test_a_run_of_other_settings_in_a_jobs_directory_is_refused(plan_of, tiny_store):
    plan = plan_of()
    job = plan.jobs[0]
    with RunDir(job.path) as directory:
        for found in (job.config.hash, "0123456789abcdef"):
            values = job.config.model_dump(mode="json")
            directory.write_config(values, config_hash=found, device="cpu", threads=1)
            if found == job.config.hash:
                plan.check_runs(tiny_store)
    with pytest.raises(UserError, match=r"another configuration \(0123456789abcdef\)"):
        plan.check_runs(tiny_store)
