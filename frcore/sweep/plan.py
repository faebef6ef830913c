"""From a table to its runs: configurations, directories by their hash, command lines."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from frcore.checkpoint import LAST, CheckpointError, read_metadata
from frcore.config import RunConfig, load_recipe
from frcore.data.catalog import get_benchmark
from frcore.data.store import Store
from frcore.errors import UserError
from frcore.recipe_files import recipe_names
from frcore.run import CONFIG, Run
from frcore.sweep.tables import Row, Table, get_table

DEFAULT_OUT = "runs/sweeps"
END = "...\n"  # of a YAML document that is a bare value
_OPTIONS = {"seed": "--seeds", "data.protocol": "--protocol", "train.device": "--device"}


@dataclass(frozen=True)
class Job:
    """One run of a sweep. Its directory has the configuration's hash in its name."""

    row: str
    seed: int
    config: RunConfig
    path: Path
    command: tuple[str, ...]

    @property
    def log(self) -> Path:
        """What the run prints."""
        return self.path.with_name(f"{self.path.name}.log")

    @property
    def run(self) -> Run:
        """The run as others see it; it may not be there yet."""
        return Run(self.path)

    @property
    def state(self) -> Literal["waiting", "partial", "running", "finished"]:
        """Of the run in its directory; "partial" can be resumed."""
        if not (self.path / CONFIG).is_file():
            return "waiting"
        state = self.run.state
        return "partial" if state == "interrupted" else state


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep."""

    table: Table
    recipe: str  # without FR Head
    protocol: str
    seeds: tuple[int, ...]
    changes: dict[str, Any]  # the user's, over all rows
    out: Path
    grid: dict[tuple[str, int], Job]  # by row and seed; rows of equal content share a run

    @property
    def jobs(self) -> list[Job]:
        """Each run once, seed by seed: what is stopped early has whole tables of fewer seeds."""
        ordered = sorted(self.grid.values(), key=lambda job: job.seed)
        return list({job.path: job for job in ordered}.values())

    @property
    def config(self) -> RunConfig:
        """Of the first run."""
        return next(iter(self.grid.values())).config

    def lines(self) -> list[str]:
        """The command lines of the runs that are not finished, for a shell."""
        return [shlex.join(job.command) for job in self.jobs if job.state != "finished"]

    def check_runs(self, store: Store) -> None:
        """Refuses runs that are there and were trained by other settings, or on other clips.

        Raises:
            UserError: naming the run.
        """
        for job in self.jobs:
            there = (job.path / CONFIG).is_file() and job.run.environment.get("config_hash")
            if there and there != job.config.hash:
                raise UserError(
                    f"{job.path} holds a run of another configuration ({there}), put there by hand "
                    "perhaps. Move it away, or choose another --out."
                )
            path = job.path / LAST
            try:
                known = read_metadata(path)["fingerprint"] if path.is_file() else store.fingerprint
            except CheckpointError:
                continue  # damaged: training goes back to the one before it
            if known != store.fingerprint:
                raise UserError(
                    f"{job.path} was trained on other clips of '{store.benchmark.name}' than "
                    f"{store.path} holds now. Restore that store, or choose another --out."
                )


def make_plan(
    table: str,
    benchmark: str,
    *,
    protocol: str | None = None,
    seeds: int = 5,
    quick: bool = False,
    changes: Mapping[str, Any] | None = None,
    device: str | None = None,
    out: str | Path = DEFAULT_OUT,
) -> Plan:
    """What a sweep consists of; arguments as `run_sweep`.

    Raises:
        UserError: an unknown table or protocol, no recipe for the benchmark, changes that the table
            makes itself, mistakes in a configuration.
    """
    chosen, changes = get_table(table), dict(changes or {})
    if seeds < 1:
        raise UserError(f"seeds: expected 1 or more, got {seeds}.")
    _check_changes(chosen, changes)
    recipe = base_recipe(benchmark, protocol, quick)
    given = {} if protocol is None else {"data.protocol": protocol}
    bases = {False: load_recipe(recipe), True: load_recipe(f"{recipe}_frhead")}  # by `head`
    grid = {}
    for row in chosen.rows:
        if row.members:
            continue
        base = bases[row.head]
        overrides = {**_fitting(changes, row), **given, **_own(row, base)}
        for seed in range(seeds):
            grid[row.name, seed] = _job(base, row, seed, overrides, device, Path(out))
    config = next(iter(grid.values())).config
    known = get_benchmark(config.benchmark).protocols
    chosen_protocol = config.data.protocol or known[0]
    if chosen_protocol not in known:
        raise UserError(
            f"Unknown protocol '{chosen_protocol}' of {config.benchmark}. "
            f"Available: {', '.join(known)}."
        )
    return Plan(chosen, recipe, chosen_protocol, tuple(range(seeds)), changes, Path(out), grid)


def base_recipe(benchmark: str, protocol: str | None = None, quick: bool = False) -> str:
    """The recipe that the rows of a table vary, without FR Head.

    Raises:
        UserError: no such recipe is here.
    """
    if benchmark == "synthetic":
        return "synthetic_tiny"  # quick as it is
    known, protocol = recipe_names(), protocol or get_benchmark(benchmark).protocols[0]
    names = [f"{benchmark}_{protocol}_joint", f"{benchmark}_joint"]
    names = [f"{name}_quick" for name in names] if quick else names
    for name in names:
        if {name, f"{name}_frhead"} <= set(known):
            return name
    raise UserError(
        f"There is no recipe '{names[0]}' (or '{names[1]}') with its sibling '_frhead', which a "
        f"sweep on {benchmark} starts from. Benchmarks with recipes: ntu60, ntu120, nw_ucla "
        "(--quick: nw_ucla alone) and synthetic; your own data: --benchmark synthetic --set "
        "benchmark=NAME."
    )


def _check_changes(table: Table, changes: Mapping[str, Any]) -> None:
    varied = {key for row in table.rows for key in row.changes}
    for key in changes:
        if key in _OPTIONS:
            raise UserError(f"--set {key}: use {_OPTIONS[key]}.")
        if key in varied or key in {name.partition(".")[0] for name in varied} | {"head"}:
            raise UserError(f"--set {key}: {table.name} varies that itself.")


def _fitting(changes: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """Changes of the head are for rows that have one."""
    return {k: v for k, v in changes.items() if row.head or not k.startswith("head.")}


def _own(row: Row, base: RunConfig) -> dict[str, Any]:
    """A row's changes; a tiny recipe gets the tiny siblings of other backbones."""
    own = dict(row.changes)
    if "model.backbone" in own and base.model.backbone.endswith("_tiny"):
        own["model.backbone"] += "_tiny"
    return own


def _job(
    base: RunConfig, row: Row, seed: int, changes: dict[str, Any], device: str | None, out: Path
) -> Job:
    placed = {} if device is None else {"train.device": device}
    config = load_recipe(base, {**changes, **placed, "seed": seed})
    model = config.model_name.replace("+", "_")
    name = f"{model}-{config.data.stream}-s{seed}-{config.hash}"
    path = out / config.benchmark / name
    settings = [word for key, value in changes.items() for word in ("--set", setting(key, value))]
    where = [] if device is None else ["--device", device]
    command = ["frcore", "train", base.name, *settings, "--seed", str(seed), *where]
    return Job(row.name, seed, config, path, (*command, "--out", str(path)))


def setting(key: str, value: Any) -> str:
    """KEY=VALUE as `frcore train --set` reads it."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False)
    return f"{key}={text.removesuffix(END).strip()}"
