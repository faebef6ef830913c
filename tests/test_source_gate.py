"""What the source must not hold: ways to run what a file says, bare excepts, a machine's paths."""

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_PRINT = {"frcore.cli", "frviz.cli"}
BANNED_CALLS = {
    "eval",
    "exec",
    "cloudpickle.load",
    "cloudpickle.loads",
    "dill.load",
    "dill.loads",
    "joblib.load",
    "marshal.load",
    "marshal.loads",
    "pandas.eval",
    "pandas.read_pickle",
    "pickle.Unpickler",
    "pickle.load",
    "pickle.loads",
    "shelve.open",
    "shutil.unpack_archive",
    "yaml.full_load",
    "yaml.load",
    "yaml.load_all",
    "yaml.unsafe_load",
}
# Spelled in pieces, so that this file does not name what it looks for.
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "download." + "pytorch.org",
              "registry." + "npmjs", "conda." + "anaconda.org")  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w.~$)}\]>/*-])/(?:root|work|home|Users)/\w")


def source_problems(source: str, *, may_print: bool = False) -> list[str]:
    """`line: what` for every banned construct of one module."""
    tree = ast.parse(source)
    names = imported_names(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{node.lineno}: bare except")
        elif isinstance(node, ast.Call):
            found += [f"{node.lineno}: {what}" for what in call_problems(node, names, may_print)]
    return found


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
    head, dot, tail = ast.unparse(call.func).partition(".")
    function = names.get(head, head) + dot + tail
    keywords = {word.arg: word.value for word in call.keywords}
    if function in BANNED_CALLS:
        yield f"{function}()"
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
        "import joblib\njoblib.load(f)",
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "from torch import load\nload(f, weights_only=flag)",
        "import yaml\nyaml.load(f, Loader=yaml.SafeLoader)",
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
