"""Imports are layers, some modules do without torch, modules stay short: held with `ast`.

A module that is new has to find its place in the tables below.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pytest

import frcore
import frviz

MAX_LINES = 350

# Each layer imports only from those before it. Groups of one layer do not see each other, the
# modules of one group may. A package's name stands for all of its modules.
FRCORE_LAYERS = (
    ({"errors"}, {"display"}, {"significance"}),
    ({"files", "process"}, {"stopping"}, {"ranks"}, {"shapes", "skeleton"}, {"config_errors"}),
    ({"recipe_files"}, {"sharing"}, {"commands"}),
    ({"config"}, {"recipes"}, {"predictions_file"}, {"ensembles"}, {"pickles", "pickled_arrays"}),
    ({"predictions"}, {"score_files"}, {"data"}, {"backbones"}),
    ({"contrast"}, {"scores"}),
    ({"fr_head"},),
    ({"recognizer"},),
    ({"checkpoint"},),
    ({"run"}, {"weights_file"}),
    ({"run_dir"}, {"callbacks"}, {"overview"}, {"published"}),
    ({"device"}, {"residence"}),
    ({"evaluation"}, {"guard"}, {"records"}, {"splits"}, {"optim"}),
    ({"resume"},),
    ({"train"}, {"inference"}, {"importing"}),
    ({"demo"}, {"sweep"}, {"doctor"}),
    ({"cli", "__main__"},),
)
FRVIZ_LAYERS = (
    ({"sources"},),
    ({"tables"},),
    ({"figures"},),
    ({"explorer"}, {"live_view"}),
    ({"report"},),
    ({"comparison"},),
    ({"exploration"},),
    ({"cli", "__main__"},),
)
LAYERS = {"frcore": FRCORE_LAYERS, "frviz": FRVIZ_LAYERS}

# What frviz may use of frcore; the lazy ones only inside a function. For type hints alone, any
# module that is free of torch.
FRVIZ_USES = {
    "frcore.commands",
    "frcore.display",
    "frcore.ensembles",
    "frcore.errors",
    "frcore.files",
    "frcore.predictions",
    "frcore.run",
    "frcore.scores",
    "frcore.significance",
    "frcore.skeleton",
    "frcore.data.catalog",
    "frcore.data.store",
}
FRVIZ_USES_LAZILY = {"frcore.inference"}

TORCH_FREE = {
    "frcore",
    "frcore.checkpoint",
    "frcore.config",
    "frcore.data",
    "frcore.data.arrays",
    "frcore.data.benchmarks",
    "frcore.data.catalog",
    "frcore.data.check",
    "frcore.data.fetch",
    "frcore.data.formats.importing",
    "frcore.data.ntu.prepare",
    "frcore.data.ntu.raw",
    "frcore.data.ntu.raw_synthetic",
    "frcore.data.ntu.workers",
    "frcore.data.store",
    "frcore.data.synthetic",
    "frcore.data.ucla",
    "frcore.display",
    "frcore.errors",
    "frcore.overview",
    "frcore.predictions",
    "frcore.run",
    "frcore.run_dir",
    "frcore.pickled_arrays",
    "frcore.pickles",
    "frcore.score_files",
    "frcore.scores",
    "frcore.shapes",
    "frcore.significance",
    "frcore.skeleton",
    "frcore.sweep.plan",
    "frcore.sweep.running",
    "frcore.sweep.scheduling",
    "frviz",
}

Sources = Mapping[str, str]  # dotted module name -> source


class Import(NamedTuple):
    """One import statement's target."""

    target: str  # dotted: a module, or a module's attribute
    line: int
    lazy: bool  # inside a function
    typing_only: bool  # under `if TYPE_CHECKING`


def imports_of(source: str) -> Iterator[Import]:
    """Every import in a module, with where it stands."""

    def walk(node: ast.AST, lazy: bool, typing_only: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, lazy, typing_only)
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(f"{prefix}.{alias.name}", node.lineno, lazy, typing_only)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                yield from walk(child, lazy, True)
            for child in node.orelse:
                yield from walk(child, lazy, typing_only)
            return
        for child in ast.iter_child_nodes(node):
            yield from walk(child, lazy, typing_only)

    yield from walk(ast.parse(source), False, False)


def module_of(target: str, sources: Sources) -> str:
    """The module an import reaches; lazy public names of a package lead to their home."""
    package, _, name = target.rpartition(".")
    home = {"frcore": frcore._HOME, "frviz": frviz._HOME}.get(package, {}).get(name)
    if home:
        return home
    while target and target not in sources:
        target = target.rpartition(".")[0]
    return target


def place(module: str) -> tuple[int, int] | None:
    """(layer, group) of a module; None where the tables do not know it."""
    package, _, rest = module.partition(".")
    for layer, groups in enumerate(LAYERS[package]):
        for group, names in enumerate(groups):
            if rest.partition(".")[0] in names:
                return layer, group
    return None


def own(target: str) -> bool:
    return target.partition(".")[0] in LAYERS or target.startswith(".")


def layer_violations(sources: Sources) -> list[str]:
    """Every import that goes up or sideways, and every module without a place."""
    found = []
    for module, source in sources.items():
        if module in LAYERS:  # the facade names everything, lazily
            continue
        if place(module) is None:
            found.append(f"{module} has no place: add it to the layers in {__name__}")
            continue
        for item in filter(lambda item: own(item.target), imports_of(source)):
            where = f"{module}:{item.line} imports {item.target}"
            if item.target.startswith("."):
                found.append(f"{where}: imports are absolute")
            elif problem := forbidden(module, item, module_of(item.target, sources)):
                found.append(f"{where}: {problem}")
    return found


def forbidden(module: str, item: Import, target: str) -> str:
    """Why `module` may not import `target`; "" where it may."""
    package, other = module.partition(".")[0], target.partition(".")[0]
    if target in LAYERS:
        if item.target == "frcore.__version__":
            return ""
        return "name the module that is meant"
    if package == "frcore" and other == "frviz":
        return "frcore never imports frviz"
    if package == "frviz" and other == "frcore":
        if target in FRVIZ_USES or (target in FRVIZ_USES_LAZILY and item.lazy):
            return ""
        if item.typing_only and target in TORCH_FREE:
            return ""
        return "frviz does not use this part of frcore here"
    mine, theirs = place(module), place(target)
    if theirs is None or theirs == mine or theirs[0] < mine[0]:
        return ""  # a module without a place is reported on its own
    return "a layer imports only from those before it"


def torch_violations(sources: Sources, torch_free: set[str]) -> list[str]:
    """Modules that should do without torch and import it, themselves or through others."""
    found = []
    for start in sorted(torch_free & set(sources)):
        ways, seen = [(start,)], {start}
        while ways:
            way = ways.pop()
            for item in imports_of(sources[way[-1]]):
                if item.lazy or item.typing_only:
                    continue
                if item.target.partition(".")[0] == "torch":
                    found.append(" -> ".join((*way, item.target)))
                for reached in reached_by(item.target, sources) - seen:
                    seen.add(reached)
                    ways.append((*way, reached))
    return found


def reached_by(target: str, sources: Sources) -> set[str]:
    """The modules that an import executes: the target and the packages around it."""
    if not own(target):
        return set()
    parts = module_of(target, sources).split(".")
    names = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return names & set(sources)


def name_clashes(sources: Sources) -> list[str]:
    """Public functions and classes of a package that have the name of one of its modules."""
    found = []
    packages = {name.rpartition(".")[0] for name in sources} & set(sources)
    for package in sorted(packages):
        modules = {n.rpartition(".")[2] for n in sources if n.rpartition(".")[0] == package}
        for name in sorted(public_objects(package, sources[package]) & modules):
            found.append(f"{package}.{name} is a module and something else")
    return found


def public_objects(package: str, source: str) -> set[str]:
    """Names that a package's `__init__` offers and that are not its modules."""
    names = set(getattr({"frcore": frcore, "frviz": frviz}.get(package), "_HOME", ()))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module != package:
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return {name for name in names if not name.startswith("_")}


def test_imports_follow_the_layers(package_sources: Sources) -> None:
    assert layer_violations(package_sources) == []


def test_torch_free_modules_do_not_reach_torch(package_sources: Sources) -> None:
    assert torch_violations(package_sources, TORCH_FREE) == []


def test_no_public_function_has_the_name_of_a_module(package_sources: Sources) -> None:
    assert name_clashes(package_sources) == []


def test_modules_stay_short(package_sources: Sources) -> None:
    lengths = {name: source.count("\n") for name, source in package_sources.items()}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_importing_both_packages_loads_neither_torch_nor_pandas() -> None:
    loaded = modules_after("import frcore, frviz")
    assert not {"torch", "pandas", "numpy", "plotly"} & loaded


def test_torch_free_modules_run_without_torch(package_sources: Sources) -> None:
    names = sorted(TORCH_FREE & set(package_sources))
    assert "torch" not in modules_after(f"import {', '.join(names)}")


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", [frcore, frviz], ids=lambda package: package.__name__)
def test_every_public_name_is_there(package) -> None:
    assert set(package._HOME) <= set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name


# The rules themselves: each must find what it is there for.


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("frcore.skeleton", "import frviz"),
        ("frcore.skeleton", "from frviz import live"),
        ("frcore.skeleton", "def f():\n    from frcore.train import fit"),
        ("frcore.skeleton", "from frcore import fit"),
        ("frcore.skeleton", "import frcore"),
        ("frcore.skeleton", "from . import errors"),
        ("frcore.predictions", "from frcore.data.store import Store"),
        ("frcore.data.store", "from frcore.backbones import create_backbone"),
        ("frcore.fr_head", "from frcore import recognizer"),
        ("frcore.recognizer", "if True:\n    import frcore.train"),
        ("frcore.nowhere", ""),
        ("frviz.live_view", "from frcore.inference import predict"),
        ("frviz.live_view", "from frcore import predict"),
        ("frviz.live_view", "from frcore.data import open_store"),
        ("frviz.live_view", "from frcore.checkpoint import load_checkpoint"),
        ("frviz.live_view", "if TYPE_CHECKING:\n    from frcore.train import fit"),
        ("frviz.tables.confusion", "from frviz.figures import confusion"),
    ],
)
def test_a_forbidden_import_is_found(package_sources: Sources, module: str, line: str) -> None:
    made_up = {**package_sources, "frviz.figures": "", module: line}
    assert any(text.startswith(module) for text in layer_violations(made_up))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("frcore.skeleton", "from frcore.errors import UserError"),
        ("frcore.recognizer", "from frcore import __version__, fr_head"),
        ("frcore.data.store", "def f():\n    from frcore.data.synthetic import prepare"),
        ("frviz.live_view", "def f():\n    from frcore.inference import predict"),
        ("frviz.live_view", "if TYPE_CHECKING:\n    from frcore.run import Run"),
        ("frviz.live_view", "from frcore.predictions import Predictions\nimport plotly"),
    ],
)
def test_an_allowed_import_passes(package_sources: Sources, module: str, line: str) -> None:
    made_up = {**package_sources, module: line}
    assert [text for text in layer_violations(made_up) if text.startswith(module)] == []


def test_torch_is_found_directly_and_through_others() -> None:
    free = {"frcore.scores", "frcore.skeleton"}
    sources = {
        "frcore": "",
        "frcore.skeleton": "def f():\n  import torch\nif TYPE_CHECKING:\n  from torch import nn",
        "frcore.scores": "from frcore.shapes import check",
        "frcore.shapes": "try:\n    import torch.nn\nexcept ImportError:\n    pass",
    }
    expected = ["frcore.scores -> frcore.shapes -> torch.nn"]
    assert torch_violations(sources, free) == expected
    assert torch_violations({**sources, "frcore": "import torch"}, {"frcore.skeleton"}) == []
    sources["frcore.skeleton"] = "from frcore.errors import UserError"
    sources["frcore.errors"] = ""
    assert torch_violations({**sources, "frcore": "import torch"}, {"frcore.skeleton"}) == [
        "frcore.skeleton -> frcore -> torch"
    ]


def test_a_function_named_like_a_module_is_found() -> None:
    sources = {
        "frcore.data": "from frcore.data import store\nfrom frcore.data.check import check",
        "frcore.data.check": "",
        "frcore.data.store": "",
    }
    assert name_clashes(sources) == ["frcore.data.check is a module and something else"]
