"""Figures show what their tables hold, at any number of classes, and no name becomes markup."""

import html
import json
from collections import Counter

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs

import frviz
from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz import figures
from frviz.figures.style import NARROW, text_width

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRVIZ_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def pair(random_pair, make):
    """Two models with features, by number of classes; with `evil` every name is hostile."""

    def drawn(k: int, *, evil: bool = False):
        made = []
        for number, x in enumerate(random_pair(40 * k, k, gain=0.15, seed=k)):
            rng = np.random.default_rng(number)
            features = np.eye(k)[x.labels] + rng.normal(0, 0.4, (len(x), k))
            names = (
                [f"{HOSTILE}{c}" for c in range(k)] if evil else [f"action {c}" for c in range(k)]
            )
            ids = [f"{HOSTILE}{n}" for n in range(len(x))] if evil else x.sample_ids
            logits = features * 3
            logits[np.arange(len(x)), x.predicted] = logits.max(axis=1) + 0.5
            made.append(
                Predictions(
                    tuple(ids), x.labels, class_names=tuple(names), logits=logits,
                    features={"backbone": features}, prototypes={"backbone": np.eye(k)},
                    metadata={"model": f"{HOSTILE}{number}" if evil else f"model {number}"},
                )
            )  # fmt: skip
        return made

    return drawn


def all_figures(a, b) -> dict[str, go.Figure]:
    compared = frviz.compare(a, b)
    clusters = frviz.class_clusters(a, resamples=0)
    counts = frviz.confusion(a)
    shift = frviz.calibration_shift(a, b)
    return {
        **compared.figures(),
        "plain": figures.confusion(counts),
        "collapsed": figures.confusion(frviz.collapse_confusion(counts, clusters)),
        "anchors": figures.differences(frviz.choose_anchors(compared.groups, 5)),
        "single": figures.groups(frviz.ambiguous_groups(a)),
        "map": figures.embedding(frviz.embed(a, method="pca")),
        "pair": figures.embedding_pair(frviz.embed_pair(a, b, method="pca")),
        "outcomes": figures.embedding_pair(
            frviz.embed_pair(a, b, method="pca"), colour="outcome", names=compared.names
        ),
        "table": figures.level_table(compared.levels, names=compared.names),
        "shift": figures.calibration_shift(shift, names=compared.names),
        "reliability": figures.reliability(frviz.reliability(a)),
    }


@pytest.mark.parametrize("k", [1, 3, 10, 60, 120])
def test_every_figure_is_drawn_at_any_number_of_classes(pair, k) -> None:
    for name, figure in all_figures(*pair(k)).items():
        assert isinstance(figure, go.Figure), name
        assert len(figure.data) > 0, name
        json.loads(figure.to_json())
        sizes = figure.layout.height, figure.layout.width or 0
        assert max(sizes) < 2500, name


def test_fault_18_no_name_becomes_markup(pair) -> None:
    a, b = pair(4, evil=True)
    for name, figure in all_figures(a, b).items():
        text = str(figure.to_dict())
        assert "<img" not in text, name
        if name not in ("reliability",):
            assert "&lt;img" in text, name


def test_a_matrix_shows_counts_and_names_in_full_on_hover(pair) -> None:
    a, _ = pair(10)
    counts = frviz.confusion(a)
    figure = figures.confusion(counts, clusters=frviz.class_clusters(a, resamples=0))
    order = frviz.class_clusters(a, resamples=0).index
    right, wrong = figure.data
    shares = counts.loc[order, order].to_numpy() / counts.loc[order].sum(axis=1).to_numpy()[:, None]
    np.testing.assert_allclose(np.diag(np.array(right.z, float)), np.diag(shares))
    off = np.array(wrong.z, float)
    np.testing.assert_allclose(off[off > 0].sum(), (1 - np.diag(shares)).sum())
    assert np.isnan(np.diag(off)).all()
    row, column = np.argwhere(off > 0)[0]
    first, second = order[row], order[column]
    said = f"{first}<br>taken for {second}<br>{counts.loc[first, second]} clips"
    assert said in wrong.customdata[row][column]
    assert list(figure.layout.xaxis.ticktext) == list(order)
    assert right.text[0][0] == str(counts.loc[first, first])


def test_long_names_are_shortened_on_axes_only(make) -> None:
    names = ["a name that is much too long for the side of a matrix", "b"]
    figure = figures.confusion(frviz.confusion(make([0, 1], [1, 1], class_names=names)))
    assert len(figure.layout.xaxis.ticktext[0]) <= 22
    assert names[0] in figure.data[1].customdata[0][1]


def test_cells_without_a_change_beyond_chance_are_grey_and_quiet(make) -> None:
    labels = [0] * 40 + [1] * 40
    a = make(labels, [1] * 12 + [0] * 28 + [1] * 39 + [0])
    b = make(labels, [0] * 40 + [1] * 40)
    compared = frviz.compare(a, b)
    figure = figures.confusion_difference(compared.cells, compared.per_class.index)
    assert all(float(rgba.rstrip(")").split(",")[3]) < 0.2 for _, rgba in figure.data[0].colorscale)
    grey, coloured = (np.array(trace.z, float) for trace in figure.data)
    assert coloured[0].tolist() == [12, 12]  # more right, fewer mistakes: both better
    assert np.isnan(coloured[1]).all()
    assert grey[1].tolist() == [0, 0]


def test_means_over_runs_are_not_cut(make) -> None:
    labels = [0, 0, 1, 1]
    runs = [make(labels, [0, 1, 1, 1]), make(labels, [0, 0, 1, 1])]
    figure = frviz.compare(runs, runs).figures()["confusion_a"]
    assert figure.data[0].text[0][0] == "1.5"
    assert figure.data[1].text[0][1] == "0.5"
    with pytest.raises(UserError, match="draws counts"):
        figures.confusion(frviz.confusion(runs[0], normalize="true"))


def test_class_names_may_be_numbers_quotes_and_twins(make) -> None:
    names = ["1", '2"', "w", "w", "w (2)"]
    x = make([0, 1, 2, 3, 4], [1, 0, 2, 2, 4], class_names=names,
             features={"backbone": np.eye(5)})  # fmt: skip
    found = frviz.compare(x, x)
    labels = list(found.per_class.index)
    assert len(set(labels)) == 5
    assert any("&#34;" in text for text in found.figures()["groups"].layout.yaxis.ticktext)
    assert figures.calibration_shift(frviz.calibration_shift(x, x)).layout.yaxis.type == "category"


def test_differences_are_sorted_and_marked(pair) -> None:
    a, b = pair(10)
    table = frviz.compare(a, b).per_class
    figure = figures.differences(table)
    better, worse, rest = figure.data[:3]
    assert len(better.x) == ((table["p_holm"] < 0.05) & (table["difference"] > 0)).sum() > 0
    assert len(better.x) + len(worse.x) + len(rest.x) == 10
    points = sorted(
        zip([*better.y, *worse.y, *rest.y], [*better.x, *worse.x, *rest.x], strict=True)
    )
    assert [x for _, x in points] == sorted(100 * table["difference"])
    order = figures.differences(table, by_size=False).layout.yaxis.ticktext
    assert list(order) == list(table.index[::-1])


def test_the_table_of_levels_shows_what_was_measured(pair) -> None:
    levels = frviz.compare(*pair(10)).levels
    columns = figures.level_table(levels, names=("x", "y")).data[0]
    heads = list(columns.header["values"])
    assert heads[:5] == [f"<b>{h}</b>" for h in ("level", "classes", "clips", "x %", "y %")]
    assert columns.cells["values"][0][0] == "hard (below 70 %)"
    assert list(columns.cells["values"][3]) == [f"{100 * a:.2f}" for a in levels["a"]]


def test_maps_draw_every_clip_once_in_both_panes(pair) -> None:
    a, b = pair(10)
    table = frviz.embed_pair(a, b, method="pca")
    for colour in ("class", "outcome"):
        figure = figures.embedding_pair(table, colour=colour)
        for axis in ("x", "x2"):
            count = sum(len(t.x) for t in figure.data if (t.xaxis or "x") == axis)
            assert count == len(a) + 10
        assert ("hollow" in figure.layout.title.text) == (colour == "class")
    with pytest.raises(UserError, match="Did you mean 'class'"):
        figures.embedding_pair(table, colour="classes")
    hollow = [t for t in figures.embedding(frviz.embed(a, method="pca")).data
              if str(t.marker.symbol).endswith("-open")]  # fmt: skip
    assert sum(len(t.x) for t in hollow) == (~a.correct).sum()


def test_a_wrong_table_is_named(make, pair) -> None:
    a, _ = pair(3)
    for draw, table, named in (
        (figures.differences, frviz.ambiguous_groups(a), "'difference': give Comparison.groups"),
        (figures.embedding, frviz.confusion(a), "frviz.embed"),
        (figures.confusion, frviz.per_class(a), "classes by classes"),
        (figures.confusion, a, "drawn from a table"),
        (figures.reliability, frviz.confusion(a), "frviz.reliability"),
        (figures.learning_history, frviz.confusion(a), "frviz.learning_history"),
    ):
        with pytest.raises(UserError, match=named):
            draw(table)


def lines_of(title: str) -> list[str]:
    """The lines of a heading as they are read."""
    for tag in ("<b>", "</b>", "</span>", "<span style='font-size:12px'>"):
        title = title.replace(tag, "")
    return [html.unescape(line) for line in title.split("<br>")]


def test_titles_fit_their_figure_and_leave_room_for_each_line(pair) -> None:
    a, b = pair(10)
    long = ("scores/of/a/model/with/a/long/name.npz:joint", "scores/of/another/model.npz:bone")
    drawn = frviz.compare(a, b, names=long).figures()
    for name, figure in drawn.items():
        lines = lines_of(figure.layout.title.text)
        room = figure.layout.width or NARROW
        assert max(text_width(line) for line in lines) < room, name
        assert figure.layout.margin.t >= 20 * len(lines), name
    subtitle = " ".join(lines_of(drawn["changes"].layout.title.text)[1:])
    assert "grey: p >= 0.05, uncorrected" in subtitle


def test_models_are_called_by_their_names(pair) -> None:
    a, b = pair(10)
    compared = frviz.compare(a, b, names=("plain", "FR Head"))
    drawn = figures.differences(compared.groups, names=compared.names)
    entries = [trace.name for trace in drawn.data]
    assert {"FR Head better", "chosen by plain's test errors"} <= set(entries)
    slopes = figures.class_slopes(compared.per_class, names=compared.names)
    assert "FR Head better" in [trace.name for trace in slopes.data]
    assert "B better" in [trace.name for trace in figures.differences(compared.groups).data]


def test_two_maps_share_square_axes(pair) -> None:
    table = frviz.embed_pair(*pair(10), method="pca")
    layout = figures.embedding_pair(table).layout
    assert layout.xaxis.matches is None and layout.yaxis.matches is None
    assert (layout.xaxis2.matches, layout.yaxis2.matches) == ("x", "y")
    assert layout.yaxis.scaleanchor == "x" and layout.yaxis2.scaleanchor is None
    assert np.ptp(layout.xaxis.range) == pytest.approx(np.ptp(layout.yaxis.range))
    for axis, ends in (("x", layout.xaxis.range), ("y", layout.yaxis.range)):
        places = table[[f"a_{axis}", f"b_{axis}"]].to_numpy()
        assert ends[0] < places.min() and places.max() < ends[1]


def test_labels_of_slopes_stay_near_their_lines_and_apart(make) -> None:
    names = [f"action {k}" for k in range(12)]
    table = pd.DataFrame(
        {"clips": 50, "a": 0.5, "b": [0.95, 0.95, 0.94, 0.75, 0.5, *[0.6] * 7],
         "difference": np.arange(1, 13) / 100, "low": 0.0, "high": 0.0, "fixed": 1, "broken": 1,
         "p": 1.0, "p_holm": 1.0}, index=names,
    )  # fmt: skip
    figure = figures.class_slopes(table)
    place = {a.text.rsplit(" ", 1)[0]: a.y for a in figure.layout.annotations}
    assert place["action 3"] == pytest.approx(75)  # nobody is near
    assert place["action 0"] == pytest.approx(95)
    heights = np.sort(list(place.values()))
    low, high = figure.layout.yaxis.range
    assert np.diff(heights).min() >= 0.99 * (high - low) * 15 / 370


def test_histories_are_drawn(tmp_path) -> None:
    index = pd.MultiIndex.from_product(
        [[1, 2], ["fin.spatial", "fin.temporal"], ["x", HOSTILE]], names=["epoch", "space", "class"]
    )
    table = pd.DataFrame({"tp": 5, "fn": 1, "fp": 1, "fn_cosine": 0.5, "fp_cosine": 0.2}, index)
    figure = figures.calibration_history(table)
    assert [trace.name for trace in figure.data[:2]] == ["TP clips", "FN, FP clips"]
    assert list(figure.data[0].y) == [10, 10]
    looks = Counter((t.line.color, t.line.dash) for t in figure.data if t.showlegend is not False)
    assert set(looks.values()) == {1}  # no line of one panel looks like one of another
    assert {t.legend for t in figure.data} == {None, "legend2"}
    table["fp"] = 2
    assert [t.name for t in figures.calibration_history(table).data[:3]] == [
        "TP clips", "FN clips", "FP clips",
    ]  # fmt: skip
    status = pd.Categorical(["learnt", "learnt", "never learnt"],
                            ["learnt", "forgotten", "never learnt"], ordered=True)  # fmt: skip
    learnt = figures.learning_history(
        pd.DataFrame({"class": ["x", "x", HOSTILE], "status": status})
    )
    assert "<img" not in str(learnt.to_dict())
    assert list(learnt.data[0].x) == [0, 1]
    assert len(learnt.data) == 3
    assert learnt.layout.xaxis.title.text.startswith("share of clips")
    assert learnt.layout.xaxis.tickformat == ".0%"


_OUTSIDE = """async figure => {
  document.body.innerHTML = "<div style='width: 500px'></div>";
  const { data, layout } = JSON.parse(figure);
  const place = document.body.firstChild;
  place.style.height = layout.height + "px";
  await Plotly.newPlot(place, data, layout, { responsive: true });
  const page = place.querySelector(".svg-container").getBoundingClientRect();
  return [...place.querySelectorAll("text")].filter(text => {
    const box = text.getBoundingClientRect();
    return box.width && (box.left < page.left - 1 || box.right > page.right + 1 ||
                         box.top < page.top - 1 || box.bottom > page.bottom + 1);
  }).map(text => text.textContent);
}"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("k", [10, 60])
def test_nothing_is_cut_in_a_narrow_window(pair, page, k) -> None:
    page.set_content("<body style='margin: 0'></body>")
    page.add_script_tag(content=get_plotlyjs())
    said = []
    page.on("console", lambda message: said.append(message.text))
    for name, figure in all_figures(*pair(k)).items():
        assert page.evaluate(_OUTSIDE, figure.to_json()) == [], name
        assert [line for line in said if "WARN" in line] == [], name


@pytest.mark.slow
@pytest.mark.browser
def test_figures_export_as_pdf_and_png(pair, tmp_path) -> None:
    pytest.importorskip("kaleido", reason="static images need the extra [export]")
    from shutil import which

    if not (which("chromium") or which("google-chrome")):
        pytest.skip("no Chromium, which draws static images")
    a, b = pair(10)
    figure = frviz.compare(a, b).figures()["groups"]
    for kind, magic in (("pdf", b"%PDF"), ("png", b"\x89PNG")):
        path = tmp_path / f"figure.{kind}"
        figure.write_image(path)
        assert path.read_bytes().startswith(magic)
        assert path.stat().st_size > 5_000
