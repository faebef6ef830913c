"""What the source must not hold: ways to run what a file says, bare excepts, a machine's paths."""

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_PRINT = {"frcore.cli", "frviz.cli"}
# Not even imported: a subclass, an alias or `getattr` would do what a call does.
BANNED_MODULES = {
    *("pickle", "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"),
    *("builtins", "runpy", "code"),
}
BANNED_NAMES = {  # wherever they stand: called, given to something, subclassed
    *("eval", "exec", "__import__", "__builtins__"),
    *("pandas.eval", "pandas.read_pickle", "shutil.unpack_archive"),
    *("torch.hub.load", "torch.jit.load", "torch.package", "torch.serialization"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all"),
    *("yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.Loader", "yaml.FullLoader"),
    *("yaml.UnsafeLoader", "yaml.CLoader", "yaml.CFullLoader", "yaml.CUnsafeLoader"),
    *("yaml.constructor", "yaml.loader", "yaml.cyaml"),
}
# Spelled in pieces, so that this file does not name what it looks for.
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "download." + "pytorch.org",
              "registry." + "npmjs", "conda." + "anaconda.org")  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w.~$)}\]>/*-])/(?:root|work|home|Users)/\w")


def source_problems(source: str, *, may_print: bool = False) -> list[str]:
    """`line: what` for every banned construct of one module."""
    tree = ast.parse(source)
    names = imported_names(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{node.lineno}: bare except")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found += [f"{node.lineno}: import of {name}" for name in banned_imports(node)]
        elif isinstance(node, ast.Name | ast.Attribute):
            name = dotted(node, names)
            if name in BANNED_NAMES or (name == "torch.load" and id(node) not in called):
                found.append(f"{node.lineno}: {name}")
        elif isinstance(node, ast.Call):
            found += [f"{node.lineno}: {what}" for what in call_problems(node, names, may_print)]
    return found


def banned_imports(node: ast.Import | ast.ImportFrom) -> list[str]:
    """What an import brings that is banned, or that hides what it brings."""
    if isinstance(node, ast.Import):
        return [a.name for a in node.names if a.name.partition(".")[0] in BANNED_MODULES]
    module = node.module or ""
    if module.partition(".")[0] in BANNED_MODULES:
        return [module]
    return [f"{module}.*" for a in node.names if a.name == "*"]


def dotted(node: ast.expr, names: Mapping[str, str]) -> str:
    """The dotted name of an expression, with aliases put back."""
    head, dot, tail = ast.unparse(node).partition(".")
    return names.get(head, head) + dot + tail


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Local name -> dotted name, so that an alias hides nothing."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def call_problems(call: ast.Call, names: Mapping[str, str], may_print: bool) -> Iterator[str]:
    function = dotted(call.func, names)
    keywords = {word.arg: word.value for word in call.keywords}
    given = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None
    if function == "importlib.import_module" and given in BANNED_MODULES:
        yield f"import of {given}"
    if function == "print" and not may_print:
        yield "print() in the library: use logging"
    if function.rpartition(".")[2] == "extractall":
        yield "extractall()"
    if function == "torch.load" and not is_constant(keywords.get("weights_only"), True):
        yield "torch.load() without weights_only=True"
    if "allow_pickle" in keywords and not is_constant(keywords["allow_pickle"], False):
        yield "allow_pickle"
    if function == "numpy.load" and len(call.args) > 2:
        yield "numpy.load() with allow_pickle by position"


def is_constant(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def text_problems(text: str) -> list[str]:
    """Registry hosts and absolute paths of a machine in a text."""
    return [host for host in REGISTRIES if host in text] + MACHINE_PATH.findall(text)


def test_source_holds_nothing_banned(package_sources: dict[str, str]) -> None:
    found = {
        name: problems
        for name, source in package_sources.items()
        if (problems := source_problems(source, may_print=name in MAY_PRINT))
    }
    assert found == {}


def test_benchmarks_hold_nothing_banned_either() -> None:
    files = sorted((ROOT / "benchmarks").rglob("*.py"))
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    found = {name: source_problems(text, may_print=True) for name, text in texts.items()}
    assert texts and {name: problems for name, problems in found.items() if problems} == {}


def test_committed_text_names_no_registry_and_no_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so nothing tells which files are committed")
    found = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file() or b"\0" in (raw := path.read_bytes())[:8192]:
            continue  # removed in the working tree, or binary
        if problems := text_problems(raw.decode("utf-8", errors="replace")):
            found[name] = problems
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(f)",
        "import pickle as p\np.loads(b)",
        "from pickle import load as read\nread(f)",
        "from pickle import Unpickler\nUnpickler(f)",
        "import pickle\nclass U(pickle.Unpickler):\n    pass\nU(f).load()",
        "from pickle import Unpickler\nclass U(Unpickler):\n    pass\nU(f).load()",
        "import pickle as p\nread = getattr(p, 'load')\nread(f)",
        "import importlib\nimportlib.import_module('pickle').load(f)",
        "__import__('pickle').load(f)",
        "import joblib\njoblib.load(f)",
        "import builtins\nbuiltins.eval('1')",
        "import builtins as b\ngetattr(b, 'ev' + 'al')('1')",
        "from builtins import exec as run\nrun('1')",
        "__builtins__['eval']('1')",
        "list(map(eval, lines))",
        "read = eval",
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "from torch import load\nload(f, weights_only=flag)",
        "import yaml\nyaml.load(f, Loader=yaml.SafeLoader)",
        "import yaml\nyaml.unsafe_load_all(f)",
        "from yaml import unsafe_load_all as read\nread(f)",
        "import yaml\nclass L(yaml.UnsafeLoader):\n    pass\nL(f).get_data()",
        "import yaml\nyaml.constructor.UnsafeConstructor()",
        "import yaml\nread = yaml.load",
        "from yaml import *",
        "import torch\nread = torch.load\nread(f)",
        "import functools, torch\nread = functools.partial(torch.load, weights_only=False)",
        "import torch\ntorch.jit.load(f)",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
        "import numpy as np\nnp.load(f, None, True)",
        "import numpy as np\nnp.load(f, allow_pickle=flag)",
        "def f():\n    return eval('1')",
        "exec(code)",
        "try:\n    f()\nexcept:\n    pass",
        "import tarfile\ntarfile.open(f).extractall(d)",
        "from shutil import unpack_archive\nunpack_archive(f)",
        "print('x')",
    ],
)
def test_a_banned_construct_is_found(source: str) -> None:
    assert len(source_problems(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(f, weights_only=True)",
        "import yaml\nyaml.safe_load(f)",
        "import yaml\nclass L(yaml.SafeLoader):\n    pass",
        "import importlib\nimportlib.import_module('frcore.pickles')",
        "import pickletools",
        "import numpy as np\nnp.load(f, mmap_mode='r', allow_pickle=False)",
        "import json\njson.load(f)",
        "model.eval()",
        "try:\n    f()\nexcept OSError:\n    pass",
        "'''print(eval(x)) in words'''",
    ],
)
def test_harmless_source_passes(source: str) -> None:
    assert source_problems(source) == []


def test_print_belongs_to_the_command_line() -> None:
    assert source_problems("print('x')", may_print=True) == []


@pytest.mark.parametrize("text", ["see /ro" + "ot/x", '"/wo' + 'rk/a"', "x=/ho" + "me/me/x"])
def test_a_path_of_a_machine_is_found(text: str) -> None:
    assert text_problems(text)


@pytest.mark.parametrize("text", ["data/work/x", "$HOME/work/x", "a.b/home/x", "<run>/root/x"])
def test_a_relative_path_passes(text: str) -> None:
    assert text_problems(text) == []


def test_a_registry_is_found() -> None:
    assert [text_problems(f"https://{host}/simple") for host in REGISTRIES] == [
        [host] for host in REGISTRIES
    ]
