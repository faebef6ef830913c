"""The README keeps its promises: its code runs, its commands exist, its file tree is real."""

import re
import subprocess
from fnmatch import filter as filter_names
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import yaml
from typer.main import get_command

import frcore
import frviz
from frcore.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# One epoch of something small, in place of the recipe's schedule.
TINY = {
    "train.epochs": 1,
    "train.batch_size": 64,
    "train.threads": 1,
    "train.precision": "fp32",
    "optim.warmup_epochs": 0,
    "data.persons": 1,
    "data.transform.frames": 8,
}


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    code: str
    runs: bool  # marked to be run here


def blocks(language: str | None = None) -> list[Block]:
    pattern = r"(<!-- runs in the tests -->\n)?^```(\w*)\n(.*?)^```$"
    found = [Block(m[2], m[3], bool(m[1])) for m in re.finditer(pattern, README, re.S | re.M)]
    return [block for block in found if language in (None, block.language)]


def commands() -> list[list[str]]:
    """Every `frcore ...` line of a block, as words without comments."""
    lines = "\n".join(block.code for block in blocks() if block.language != "python").splitlines()
    found = [re.search(r"(?:^|[\d!] ?)frcore ([^#&]*)", line) for line in lines]
    return [["frcore", *match[1].split()] for match in found if match]


def tree() -> set[str]:
    """Paths of the file tree, by its indentation."""
    (block,) = [block.code for block in blocks() if block.code.startswith("README.md ")]
    paths, folders = set(), []
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders = [*folders[:depth], name]
        paths.add("".join(folders))
    return paths


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so nothing tells which files are committed")
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def test_the_file_tree_names_every_module_and_every_file_at_the_top() -> None:
    modules = {n for n in tracked() if n.endswith(".py") and n.startswith(("frcore/", "frviz/"))}
    top = {name for name in tracked() if "/" not in name}
    assert (modules | top) - tree() == set()


def test_the_file_tree_names_nothing_that_is_not_there() -> None:
    assert {path for path in tree() if not (ROOT / path).exists()} == set()


def test_lines_fit_a_screen() -> None:
    assert [line for line in README.splitlines() if len(line) > 120] == []


def test_links_and_pictures_are_there() -> None:
    targets = re.findall(r'\]\(([^)#]+)\)|src="([^"]+)"', README)
    local = {a or b for a, b in targets if not (a or b).startswith("https://")}
    assert {target for target in local if not (ROOT / target).is_file()} == set()
    assert all((ROOT / target).stat().st_size < 200_000 for target in local)


def test_every_recipe_is_in_the_table() -> None:
    plain = {name.removesuffix("_frhead") for name in frcore.list_recipes()}
    table = re.findall(r"^\| ((?:`[\w*]+`(?:, )?)+) \|", README, re.M)
    rows = [row for cell in table for row in re.findall(r"`([\w*]+)`", cell)]
    assert {name for name in plain if not any(fnmatch(name, row) for row in rows)} == set()
    assert {row for row in rows if row.startswith("ntu") and not filter_names(plain, row)} == set()
    assert {f"{name}_frhead" for name in plain} <= set(frcore.list_recipes())


def test_every_command_and_option_exists() -> None:
    assert len(commands()) >= 12
    for words in commands():
        command, rest = get_command(app), words[1:]
        while hasattr(command, "commands"):
            assert rest and rest[0] in command.commands, f"no such command: {words}"
            command, rest = command.commands[rest[0]], rest[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


def test_every_recipe_and_value_on_a_command_line_is_accepted() -> None:
    for words in commands():
        if words[1] == "train" and not words[2].endswith(".yaml"):
            changes = [b for a, b in zip(words, words[1:], strict=False) if a == "--set"]
            pairs = (change.split("=") for change in changes)
            frcore.load_recipe(words[2], {key: yaml.safe_load(value) for key, value in pairs})


def test_the_configuration_file_is_valid(tmp_path: Path) -> None:
    (block,) = blocks("yaml")
    (tmp_path / "mine.yaml").write_text(block.code, encoding="utf-8")
    config = frcore.load_recipe(tmp_path / "mine.yaml")
    assert config.head is not None and not config.head.use_fp and config.optim.lr == 0.05


def test_settings_named_in_the_text_exist() -> None:
    named = set(re.findall(r"`((?:data|train|optim|head|model)\.[a-z_.]+)", README))
    config = frcore.load_recipe("synthetic_tiny_frhead").model_dump()
    known = set(pd.json_normalize(config).columns)  # "data.transform.frames"
    assert named and named <= known


def test_every_name_of_the_packages_exists() -> None:
    for package in (frcore, frviz):
        names = re.findall(rf"(?<![\w/.]){package.__name__}\.(\w+)[(.\"]", README)
        assert names and all(hasattr(package, name) for name in names)


def test_make_has_every_target_that_is_named() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.M)) <= targets


def test_marked_code_runs(tmp_path, monkeypatch, capsys) -> None:
    from frcore.data import synthetic

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRCORE_DATA", "data")
    synthetic.prepare(clips_per_subject_and_class=1)
    fit = frcore.fit
    monkeypatch.setattr(frcore, "fit", lambda *args, **more: fit(*args, **{**more, **TINY}))
    marked = [block.code for block in blocks("python") if block.runs]
    for code in marked:
        exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert len(marked) == 7
    assert Path("report.html").is_file()
    assert "Predictions('synthetic/test', ctrgcn_tiny+fr, 108 clips" in printed
    assert "Skeleton('hand', 4 joints" in printed
    assert "clip060" in printed  # the first test clip of one's own data


def test_other_code_is_python() -> None:
    for block in blocks("python"):
        compile(block.code, "README.md", "exec")
