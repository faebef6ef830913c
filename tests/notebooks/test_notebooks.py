"""The notebooks run from top to bottom and show what they promise.

They run in order and share their runs, as they do for a reader: the first one trains with FR Head,
the third one without. The data are a quarter of the embedded benchmark, the recipes are the real
ones.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "00_quickstart",
    "01_data_tour",
    "02_train_fr_head",
    "03_calibration",
    "04_compare_baselines",
    "05_ambiguous_groups",
    "06_backbones_and_ablation",
)
PLOTLY = "application/vnd.plotly.v1+json"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def execute(name: str, root: Path, **environment: str) -> nbformat.NotebookNode:
    """Runs a notebook as `<root>/notebooks/<name>` in a kernel of its own."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    (root / "notebooks").mkdir(exist_ok=True)
    where = {"metadata": {"path": str(root / "notebooks")}}
    client = NotebookClient(notebook, timeout=1500, resources=where)
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
    return notebook


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from frcore.data import synthetic

    folder = tmp_path_factory.mktemp("repository")
    synthetic.prepare(folder / "data", clips_per_subject_and_class=1)
    return folder


@pytest.fixture(scope="module")
def executed(root: Path) -> dict[str, nbformat.NotebookNode]:
    scores = root / "scores"  # none, unless a test brings some
    where = {"FRCORE_DATA": "data", "FRVIZ_CACHE": str(root / "cache"), "FR_SCORES": str(scores)}
    return {name: execute(name, root, **where) for name in NAMES}


def outputs(notebook: nbformat.NotebookNode) -> Iterator[nbformat.NotebookNode]:
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


def text(notebook: nbformat.NotebookNode) -> str:
    """What it printed and the plain text of its results."""
    parts = [
        out.get("text", "") or out.get("data", {}).get("text/plain", "")
        for out in outputs(notebook)
    ]
    return "\n".join(parts)


def figures(notebook: nbformat.NotebookNode) -> list[dict]:
    shown = [out.data for out in outputs(notebook) if "data" in out]
    return [data[PLOTLY] for data in shown if PLOTLY in data]


def traces(notebook: nbformat.NotebookNode) -> list[set[str]]:
    """Names of the curves and bars of each figure."""
    return [{t["name"] for t in figure["data"] if t.get("name")} for figure in figures(notebook)]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_warned_of(executed, name) -> None:
    streams = [out for out in outputs(executed[name]) if out.output_type == "stream"]
    said = "".join(out.text for out in streams if out.name == "stderr")
    bars = re.sub(r"[^\n]*\d+%\|[^\n]*", "", said)  # progress
    assert "Warning" not in bars and "Error" not in bars, bars


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_notebook_stays_small(executed, name) -> None:
    assert len(nbformat.writes(executed[name])) < 1_500_000


def test_quickstart_trains_live_and_prints_an_accuracy(executed, root) -> None:
    notebook = executed["00_quickstart"]
    (live,) = traces(notebook)
    assert {"CE", "CL (FR Head)", "train", "val", "test"} <= live
    (share,) = re.findall(r"accuracy on 108 test clips: ([\d.]+)%", text(notebook))
    assert 100 / 18 < float(share) <= 100  # better than chance
    assert "state.json" in text(notebook)
    assert (root / "runs/demo/synthetic_tiny_frhead/last.safetensors").is_file()


def test_data_tour_draws_clips_and_reports_copies(executed) -> None:
    notebook = executed["01_data_tour"]
    assert len(figures(notebook)) == 6
    assert "writing · reading · typing on a keyboard · playing with phone" in text(notebook)
    assert "copies, test = train: 0" in text(notebook)
    sides = {"trunk", "left arm", "right arm", "left leg", "right leg"}
    assert sum(sides <= names for names in traces(notebook)) == 3


def test_training_notebook_compares_both_models(executed) -> None:
    notebook = executed["02_train_fr_head"]
    assert "Run('runs/demo/synthetic_tiny', ctrgcn_tiny, finished" in text(notebook)
    assert "Run('runs/demo/synthetic_tiny_frhead', ctrgcn_tiny+fr, finished" in text(notebook)
    live, finished, *shown = traces(notebook)
    assert {"CE", "test"} <= live and "CL (FR Head)" not in live
    assert {"CL (FR Head)", "TP", "test"} <= finished  # by notebook 00: its curves are shown
    assert {"without FR Head", "with FR Head"} in shown and {"FN", "FP"} in shown
    assert len(shown) == 5
    assert re.search(
        r"with FR Head against without FR Head: \d+ clips fixed, \d+ broken; ", text(notebook)
    )
    assert "features (108, 256), prototypes (18, 256)" in text(notebook)


def test_calibration_notebook_shows_the_head_at_work(executed) -> None:
    notebook = executed["03_calibration"]
    shown = traces(notebook)
    assert {"TP clips", "fin.spatial", "low.temporal"} <= shown[0]
    assert {"measured", "by choice alone"} in shown
    assert {"learnt", "forgotten", "never learnt"} in shown
    assert {"as sure as right", "gap", "model"} in shown
    assert "fn_gain" in text(notebook)
    assert re.search(r"'temperature': \d", text(notebook))


def test_comparison_notebook_ends_with_a_report(executed, root) -> None:
    notebook = executed["04_compare_baselines"]
    assert "by validation clips of both models" in text(notebook)
    assert "1 and 1 runs. FR Head against " in text(notebook)
    assert "No published scores in" in text(notebook)
    assert len(figures(notebook)) == 5
    assert (root / "runs/demo/comparison.html").stat().st_size > 1_000_000


def test_groups_notebook_draws_maps(executed) -> None:
    notebook = executed["05_ambiguous_groups"]
    assert len(figures(notebook)) == 4
    assert "writing · reading · typing on a keyboard" in text(notebook)
    assert "of 15 neighbours are shared" in text(notebook)
    titles = [figure["layout"]["title"]["text"] for figure in figures(notebook)]
    assert "t-SNE of space backbone" in titles[0]
    assert "UMAP of space backbone" in titles[2]
    assert "t-SNE of space fin.spatial" in titles[3]


def test_ablation_notebook_shows_the_tables(executed, root) -> None:
    notebook = executed["06_backbones_and_ablation"]
    shown = text(notebook)
    assert "### table1: parts of FR Head" in shown
    assert "| CL loss, ST decoupling, ML refinement | ctrgcn_tiny+fr | 1 |" in shown
    assert "table1: 5 runs, 0 of them finished" in shown and "[5 finished]" in shown
    assert "table4" not in shown  # its runs are those of table 1
    assert re.search(r"ctrgcn +1\.46 +0\.54 +2\.00", shown)
    assert "50 runs\nfrcore train nw_ucla_joint --set model.backbone=stgcn --seed 0 " in shown
    assert len(list((root / "runs/sweeps/synthetic").glob("*/last.safetensors"))) == 5


def test_training_notebook_shows_finite_numbers(executed) -> None:
    for figure in figures(executed["02_train_fr_head"]):
        for trace in figure["data"]:
            if trace.get("name"):
                assert len(trace["x"]) == len(trace["y"]) > 0
                assert None not in trace["y"]


def test_published_scores_are_compared_where_they_are(executed, reference, root) -> None:
    scores = reference / "data" / "scores" / "nw_ucla"
    if not scores.is_dir():
        pytest.skip(f"No {scores}.")
    where = {"FRCORE_DATA": "data", "FR_SCORES": str(scores)}
    notebook = execute("04_compare_baselines", root, **where)
    assert "joint against bone: 19 clips fixed, 13 broken; not distinguishable from chance" in text(
        notebook
    )
    assert "ensemble of 2, 464 clips, 10 classes, top1=95.7%" in text(notebook)


def test_data_tour_runs_on_nw_ucla(reference, tmp_path) -> None:
    from frcore.data import ucla

    archive = reference / "data" / "nw_ucla" / "all_sqe.zip"
    if not archive.is_file():
        pytest.skip(f"No {archive}.")
    ucla.prepare(archive, root=tmp_path / "data")
    notebook = execute("01_data_tour", tmp_path, FRCORE_DATA="data", FR_BENCHMARK="nw_ucla")
    assert "copies, test = train: 95" in text(notebook)
    assert len(figures(notebook)) == 6
