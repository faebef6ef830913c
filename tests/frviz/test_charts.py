"""Lines and bars show a table's numbers, and its words as they are."""

import math

import pandas as pd

from frviz.figures import bars, curves, heatmaps

TABLE = pd.DataFrame(
    {"without": [0.25, math.nan, 0.5], "with": [0.2, 0.4, 0.6]},
    index=pd.Index([1, 2, 3], name="epoch"),
)


def test_each_column_is_a_line_and_gaps_are_bridged():
    figure = curves(TABLE, y="accuracy", unit="%", title="test")
    drawn = {t.name: (list(t.x), list(t.y)) for t in figure.data}
    assert drawn == {"without": ([1, 3], [0.25, 0.5]), "with": ([1, 2, 3], [0.2, 0.4, 0.6])}
    assert figure.layout.xaxis.title.text == "epoch"
    assert figure.layout.yaxis.tickformat == ".0%"
    assert len({t.line.color for t in figure.data}) == len({t.line.dash for t in figure.data}) == 2


def test_a_single_value_is_visible():
    assert curves(TABLE.head(1)).data[0].mode == "lines+markers"


def test_each_row_is_a_group_of_bars_from_top_to_bottom():
    figure = bars(TABLE.rename(index={1: "walk", 2: "run", 3: "sit"}), x="accuracy")
    assert [list(t.y) for t in figure.data] == [["walk", "run", "sit"]] * 2
    assert list(figure.data[1].x) == [0.2, 0.4, 0.6]
    assert figure.layout.yaxis.autorange == "reversed" and figure.layout.barmode == "group"
    assert bars(TABLE, stacked=True).layout.barmode == "stack"


def test_tables_become_colours_side_by_side_with_one_scale():
    one, two = TABLE.rename(index=str), -TABLE.rename(index=str)
    figure = heatmaps({"one": one, "two": two}, colour="share", signed=True)
    assert [trace.z[2].tolist() for trace in figure.data] == [[0.5, 0.6], [-0.5, -0.6]]
    assert {trace.coloraxis for trace in figure.data} == {"coloraxis"}
    assert figure.layout.coloraxis.cmid == 0 and figure.layout.yaxis.autorange == "reversed"
    assert [a.text for a in figure.layout.annotations] == ["<b>one</b>", "<b>two</b>"]
    assert len(heatmaps(one).data) == 1


def test_names_are_inert():
    evil = "<b onclick=x>"
    table = pd.DataFrame({evil: [1.0]}, index=pd.Index([evil], name=evil))
    for figure in (
        curves(table, y=evil, title=evil),
        bars(table, x=evil, title=evil),
        heatmaps({evil: table}, colour=evil, title=evil),
    ):
        assert evil not in str(figure.to_dict())
