"""Every row of the table of faults is a test with its number in its name; readers are fuzzed.

A test of rows 8 and 9 is called `test_fault_08_09_...`. `pytest -k fault_` runs them all.
"""

import ast
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = {
    1: "killed at a random step, same command again",
    2: "killed inside a save",
    3: "disk full during a save",
    4: "run directory not writable",
    5: "checkpoint cut, or with flipped bits",
    6: "checkpoint of another model",
    7: "SIGTERM, Ctrl-C, and a second signal",
    8: "loss of NaN or Inf",
    9: "NaN only in gradients",
    10: "joints of NaN or Inf",
    11: "wrong joint count, channels, axes",
    12: "clips with next to nothing in them",
    13: "wrong labels, duplicate ids, leaks",
    14: "pickles that would run something",
    15: "other files that would, or that claim endless sizes",
    16: "hostile archives",
    17: "downloads cut, wrong, or a web page",
    18: "hostile names",
    19: "mistakes in a configuration",
    20: "two processes against one",
    21: "a rank that dies",
    22: "resumed with another world size",
    23: "ensembles that do not fit",
    24: "two runs in one directory, stale locks",
    25: "damaged caches, one class, a perfect classifier",
}
# What of a row is not a test, or not as the row says, and why.
OTHERWISE = {
    3: "a full disk is what fsync says: a real one needs a file system of its own",
    6: "a partial load is `match_tensors(partial=True)`; nothing else loads a checkpoint in part",
    7: "a notebook's stop button is SIGINT in the main thread, which the test sends itself",
    15: "address space that torch reserves for weights of before 2020 is not counted: it is never "
    "written to",
    18: "ids in a store's samples.csv stay as they are, since its sha256 is over them; tables made "
    "for a spreadsheet are quoted. SVG is drawn by a browser: that test has the mark `browser`",
}
FUZZED = {  # reader: file and test of changed bytes
    "stores": "frcore/test_damaged_files.py::test_fault_15_changed",
    "predictions files": "frcore/test_predictions.py::test_every_damage_of_a_byte",
    "checkpoints, safetensors metadata": "frcore/test_damaged_files.py::test_fault_15_changed",
    "score pickles": "frcore/test_pickles.py::test_changed_bytes_give_data",
    "pyskl pickles": "frcore/data/formats/test_pyskl.py::test_changed_bytes_give_clips",
    "ctrgcn npz": "frcore/data/formats/test_ctrgcn.py::test_changed_bytes_give_clips",
    "raw .skeleton": "frcore/data/ntu/test_raw.py::test_mutated_bytes_give",
    "ucla archive": "frcore/data/test_fetch.py::test_mutated_archives_never_end",
    "published weights .pt": "frcore/test_damaged_files.py::test_fault_15_changed",
    "label files": "frcore/test_damaged_files.py::test_fault_15_changed",
    "YAML configs": "frcore/test_damaged_files.py::test_fault_15_changed",
    "exclude lists": "frcore/test_damaged_files.py::test_fault_15_changed",
}


def names_in(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def rows_of(name: str) -> list[int]:
    """The rows in the name of a test: "test_fault_08_09_what" is of 8 and 9."""
    found = re.match(r"test_fault_((?:\d\d_)+)\w", name)
    return [int(number) for number in found[1].split("_")[:-1]] if found else []


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [name for path in sorted(HERE.rglob("test_*.py")) for name in names_in(path)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row:02}")
def test_a_row_has_a_test_with_its_number(row: int, names: list[str]) -> None:
    assert any(row in rows_of(name) for name in names), ROWS[row]


def test_numbers_in_names_are_those_of_rows(names: list[str]) -> None:
    found = [name for name in names if name.startswith("test_fault_")]
    assert [n for n in found if not rows_of(n) or not set(rows_of(n)) <= set(ROWS)] == []
    assert set(OTHERWISE) <= set(ROWS)


@pytest.mark.parametrize("reader", FUZZED)
def test_a_reader_is_fuzzed(reader: str) -> None:
    file, _, start = FUZZED[reader].partition("::")
    assert any(name.startswith(start) for name in names_in(HERE / file))


def test_rows_are_read_from_names() -> None:
    assert rows_of("test_fault_08_09_a_bad_step") == [8, 9]
    assert rows_of("test_fault_05_200_random_bit_flips") == [5]
    assert rows_of("test_fault_a_row") == rows_of("test_other_08_what") == []
