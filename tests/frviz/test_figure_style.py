"""Words in figures fit, names stay apart, text is readable; groups of one model as a figure."""

import numpy as np
import pytest
from scipy.stats import binomtest

import frviz
from frviz import figures
from frviz.figures.style import INK, short_names, text_width, wrap


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FRVIZ_CACHE", str(tmp_path / "cache"))


def test_words_are_wrapped_and_none_is_lost() -> None:
    said = "chosen by both models, cross-fitted: chosen on one half of the test clips; " + "x" * 90
    lines = wrap(said, 200)
    assert all(text_width(line) <= 200 for line in lines) and len(lines) > 3
    assert "".join(lines).replace(" ", "") == said.replace(" ", "")
    assert text_width("\u52d5\u4f5c") > text_width("ab")  # Chinese letters are wide


def test_short_names_stay_different() -> None:
    names = [
        "wearing something on the head", "wearing something on the feet",
        "put something into a large bag", "put something onto a large bag", "a", "b" * 40, "b" * 41,
        "taking something out of a bag", "taking something off a large bag",
    ]  # fmt: skip
    for width in (30, 20, 12, 8):
        shown = short_names(names, width)
        assert len(set(shown)) == len(names), width
        assert max(map(len, shown)) <= width
        assert shown[4] == "a"
    assert short_names(names[:2], 20) == ["wearing s\u2026n the head", "wearing s\u2026n the feet"]


def test_text_is_readable_on_white_and_on_dark() -> None:
    def light(colour: str) -> float:  # WCAG's relative luminance
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    assert 1.05 / (light(INK) + 0.05) >= 4.5
    assert (light(INK) + 0.05) / (light("#111111") + 0.05) >= 4.1


@pytest.mark.parametrize("k", [60, 120])
def test_a_matrix_of_many_classes_fits_a_page_and_tells_rows_apart(make, k) -> None:
    names = [f"wearing something of kind {c} on the other hand" for c in range(k)]
    labels = np.arange(k).repeat(2)
    x = make(labels, np.roll(labels, 1), class_names=names)
    figure = figures.confusion(frviz.confusion(x))
    layout = figure.layout
    assert layout.width <= 1180
    assert len(set(layout.xaxis.ticktext)) == k
    cell = (layout.width - layout.margin.l - layout.margin.r) / k
    assert cell == pytest.approx((layout.height - layout.margin.t - layout.margin.b) / k, abs=0.1)
    assert cell >= 8
    plot = layout.width - layout.margin.l - layout.margin.r
    for bar in (trace.colorbar for trace in figure.data):  # on the page, above the plot
        left = layout.margin.l + bar.x * plot
        assert left > 0 and left + bar.len < layout.width and bar.y > 1


def test_groups_of_one_model_are_sorted_with_their_limits(make) -> None:
    labels = [0] * 10 + [1] * 10 + [2] * 10
    x = make(labels, [1] * 6 + [0] * 4 + [0] * 2 + [1] * 8 + [2] * 10)
    table = frviz.ambiguous_groups(x)
    (dots,) = figures.groups(table).data
    assert list(dots.y) == [0, 1] and list(dots.x) == [60, 60]  # c2 is never confused
    limits = binomtest(12, 20).proportion_ci(method="wilson")
    assert dots.x[1] - dots.error_x.arrayminus[1] == pytest.approx(100 * limits.low)
    assert dots.x[1] + dots.error_x.array[1] == pytest.approx(100 * limits.high)
    assert "<b>c0</b><br>with c1<br>20 clips, 60.0% right" in dots.customdata[1]
    few = figures.groups(table, n=1)
    assert list(few.layout.yaxis.ticktext) == ["c0"]


def test_fault_25_the_groups_of_a_perfect_model_are_drawn_as_none(make) -> None:
    figure = figures.groups(frviz.ambiguous_groups(make([0, 1], [0, 1])))
    assert list(figure.data[0].x) == []
    assert "No class is confused with another" in figure.layout.title.text


def test_every_class_is_in_the_legend_filled(make) -> None:
    labels = [0, 0, 1, 1, 2, 2]
    x = make(labels, [0, 0, 0, 0, 2, 1], features={"backbone": np.eye(6)})  # no clip of 1 is right
    y = make(labels, [0, 0, 1, 1, 2, 1], features={"backbone": np.eye(6)})
    one, two = frviz.embed(x, method="pca"), frviz.embed_pair(x, y, method="pca")
    for figure in (figures.embedding(one), figures.embedding_pair(two)):
        entries = {t.name: t for t in figure.data if t.showlegend}
        assert list(entries) == ["c0", "c1", "c2"]
        assert not any(t.marker.symbol.endswith("open") for t in entries.values())
        assert len(entries["c1"].x) == 1  # without a place the entry would be left out
    stars = [
        [t.name for t in figure.data if t.marker.symbol == "star" and len(t.x) and t.xaxis == axis]
        for axis in ("x", "x2")
    ]
    assert stars == [["c0", "c2"], ["c0", "c1", "c2"]]


def test_a_figure_says_that_its_epoch_was_chosen_on_test(make) -> None:
    labels = [0, 0, 1, 1]
    x = make(
        labels, [0, 1, 1, 1], features={"backbone": np.eye(4)}, metadata={"select": "test_best"}
    )
    for figure in (
        figures.groups(frviz.ambiguous_groups(x)),
        figures.confusion(frviz.confusion(x)),
        figures.embedding(frviz.embed(x, method="pca")),
        figures.calibration_shift(frviz.calibration_shift(x, x)),
    ):
        assert "best epoch on test" in figure.layout.title.text.replace("<br>", " ")
