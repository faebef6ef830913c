"""Names of classes, clips and models are text in everything that is shown, whatever they say."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import frviz
from frcore.predictions import Predictions
from frcore.predictions_file import write_csv
from frcore.run import Run
from frcore.scores import read_scores
from frcore.skeleton import Skeleton

TURN = "\u202e"  # right to left from here on
NAMES = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "javascript:alert(1)",
    "<a href='javascript:alert(1)'>x</a>",
    f"{TURN}gnp.exe",
    "x" * 10_000,
    "",
    "same",
    "same",
    "=1+1",
)
K = len(NAMES)


class Page(HTMLParser):
    """The tags of a page, what would run in it, and its text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts, self.runs, self.text = 0, [], ""
        self._silent = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.scripts += tag == "script"
        self._silent = tag in ("script", "style")
        for name, value in attrs:
            if name.startswith("on") or str(value).strip().lower().startswith("javascript:"):
                self.runs.append((tag, name, value))

    def handle_endtag(self, tag: str) -> None:
        self._silent = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._silent else data


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRVIZ_CACHE", str(tmp_path / "cache"))


def model(number: int, *, evil: bool) -> Predictions:
    """60 clips; the names are plain ones or hostile ones, of the same number."""
    rng = np.random.default_rng(number)
    labels = np.arange(60) % K
    logits = 3 * np.eye(K)[labels] + rng.normal(0, 1.5, (60, K))
    names = NAMES if evil else [f"action {k}" for k in range(K)]
    ids = [f"{NAMES[n % 6]}{n}" if evil else f"clip {n}" for n in range(60)]
    return Predictions(
        tuple(ids),
        labels,
        class_names=tuple(names),
        logits=logits,
        features={"backbone": logits},
        prototypes={"backbone": np.eye(K)},
        metadata={"model": f"{NAMES[number]}{TURN}" if evil else f"model {number}"},
    )


def shown(folder: Path, *, evil: bool) -> dict[str, str]:
    """Every page and snippet of HTML, by name."""
    folder.mkdir()
    a, b = model(0, evil=evil), model(1, evil=evil)
    compared = frviz.compare(a, b)
    evil_or = NAMES[0] if evil else "plain"
    body = Skeleton("s", (evil_or, "b", "c"), ((1, 0), (2, 0)), parts={evil_or: (1, 2)})
    clip = np.random.default_rng(0).normal(size=(4, 3, 3))
    player = frviz.play(clip, skeleton=body, titles=[NAMES[1] if evil else "clip"])
    (folder / "config.json").write_text("{}")
    (folder / "environment.json").write_text("{}")
    if evil:
        (folder / "config.json").write_text('{"model": {"backbone": "<img src=x onerror=y>"}}')
    figures = {
        **compared.figures(),
        "map": frviz.figures.embedding(frviz.embed(a, method="pca")),
        "confusion": frviz.figures.confusion(frviz.confusion(a)),
        "groups": frviz.figures.groups(frviz.ambiguous_groups(a)),
        "reliability": frviz.figures.reliability(frviz.reliability(a)),
        "shift": frviz.figures.calibration_shift(frviz.calibration_shift(a, b)),
        "strip": frviz.figures.clip_strip(clip[None], body, titles=[evil_or]),
    }
    for name, figure in figures.items():
        sizes = figure.layout.height or 0, figure.layout.width or 0
        assert max(sizes) < 2500, name
        assert "<img" not in str(figure.to_dict()), name
    pages = {name: f.to_html(include_plotlyjs=False) for name, f in figures.items()}
    explorer = frviz.explore(a, b, method="pca")
    return pages | {
        "predictions": a._repr_html_(),
        "run": Run(folder)._repr_html_(),
        "comparison": compared._repr_html_(),
        "report": compared.report(folder / "report.html").read_text(encoding="utf-8"),
        "explorer": explorer.to_html(folder / "explorer.html").read_text(encoding="utf-8"),
        "player": player.to_html(folder / "player.html").read_text(encoding="utf-8"),
        "texts": " ".join(map(repr, (a, compared, explorer, player))).replace("<", "&lt;"),
    }


def test_fault_18_names_are_text_in_every_page_figure_and_notebook_output(tmp_path: Path) -> None:
    plain, hostile = (shown(tmp_path / str(evil), evil=evil) for evil in (False, True))
    for name, text in hostile.items():
        page, usual = Page(text), Page(plain[name])
        assert page.runs == [], name
        assert page.scripts == usual.scripts, name
        assert set(page.tags) <= set(usual.tags), name
        assert TURN not in text, name
        assert text.count("\\u202e") == plain[name].count("\\u202e"), name  # Plotly's own
        assert "</script><img" not in text, name
        assert len(max(page.text.split("\n"), key=len, default="")) < 60_000, name


@pytest.mark.parametrize("sign", "=+-@\t\r")
def test_fault_18_cells_of_a_csv_start_no_formula(sign: str, tmp_path: Path) -> None:
    names = (f"{sign}1+1", "b")
    made = Predictions.from_labels((f"{sign}cmd", "y"), [0, 1], [1, 0], names)
    path = write_csv(tmp_path / "p.csv", made.frame())
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert cells["sample_id"].tolist() == [f"'{sign}cmd", "y"]
    assert cells["class"].tolist() == [f"'{sign}1+1", "b"]
    assert cells["predicted_class"].tolist() == ["b", f"'{sign}1+1"]
    found = read_scores(path)
    assert (found.sample_ids, found.class_names) == (made.sample_ids, names)
