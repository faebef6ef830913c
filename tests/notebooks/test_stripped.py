"""Notebooks read and define nothing: short cells, words between them, no outputs committed."""

import ast
import json
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
MAX_LINES = 12  # of a code cell
CHOICE = 'BENCHMARK = os.environ.get("FR_BENCHMARK", "synthetic")'
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@pytest.fixture(params=NAMES)
def notebook(request) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / request.param, as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebooks_are_there() -> None:
    assert NAMES == [
        "00_quickstart.ipynb",
        "01_data_tour.ipynb",
        "02_train_fr_head.ipynb",
        "03_calibration.ipynb",
        "04_compare_baselines.ipynb",
        "05_ambiguous_groups.ipynb",
        "06_backbones_and_ablation.ipynb",
    ]


def test_outputs_are_stripped(notebook) -> None:
    for cell in code(notebook):
        assert not cell.outputs and cell.execution_count is None, cell.source
        assert not cell.metadata, "metadata of a front end: collapsed, scrolled, timings"
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert set(notebook.metadata.language_info) == {"name"}  # no version of the last machine


def test_it_is_valid_and_its_cells_have_names_of_their_own(notebook) -> None:
    nbformat.validate(notebook)
    names = [cell.id for cell in notebook.cells]
    assert len(set(names)) == len(names)


def test_nothing_is_defined(notebook) -> None:
    for cell in code(notebook):
        found = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, DEFINITIONS)]
        assert not found, cell.source


def test_cells_are_short_and_have_words_before_them(notebook) -> None:
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert 1 <= len(lines) <= MAX_LINES, cell.source
        assert {before.cell_type, cell.cell_type} != {"markdown"}, "two texts: one is enough"
    in_a_row = 0
    for cell in notebook.cells:
        in_a_row = in_a_row + 1 if cell.cell_type == "code" else 0
        assert in_a_row <= 2, f"words are missing before: {cell.source}"
    assert notebook.cells[0].source.startswith("# ")


def test_the_first_cell_chooses_the_benchmark(notebook) -> None:
    first = code(notebook)[0].source
    assert CHOICE in first
    assert 'if Path.cwd().name == "notebooks":' in first  # data/ and runs/ lie in the root


def test_imports_stand_at_the_beginning_of_a_cell(notebook) -> None:
    for cell in code(notebook):
        kinds = [isinstance(n, ast.Import | ast.ImportFrom) for n in ast.parse(cell.source).body]
        assert kinds == sorted(kinds, reverse=True), cell.source


def test_files_are_as_git_likes_them() -> None:
    for name in NAMES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n", name
