"""The widget without a browser: what is chosen, what the page sends and asks, what is refused."""

import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import traitlets
from ipywidgets import jslink

import frviz
from frcore.errors import UserError
from frviz import sources as source_module
from frviz.explorer import subject as subject_module
from frviz.explorer import widget as widget_module
from frviz.explorer.payload_format import unpack

pytestmark = pytest.mark.usefixtures("own_folders")
COLUMNS = ["class", "a_predicted", "b_predicted", "outcome", "a_confidence", "b_confidence",
           "a_p_true", "b_p_true", "copy"]  # fmt: skip


@pytest.fixture
def explorer(pair):
    return frviz.explore(*pair, method="pca")


@pytest.fixture
def sent(explorer, monkeypatch) -> list:
    """What the kernel sends to the page."""
    messages = []
    monkeypatch.setattr(explorer, "send", lambda content, buffers=(): messages.append(
        (content, list(buffers))))  # fmt: skip
    return messages


def clips(x, test) -> list[str]:
    return [name for row, name in enumerate(x.sample_ids) if test(row)]


def test_nothing_is_chosen_at_first(explorer) -> None:
    assert (explorer.selection, explorer.anchor, explorer.cell, explorer.side) == ([], "", [], "a")
    table = explorer.selected
    assert len(table) == 0 and table.index.name == "sample_id"
    assert list(table.columns) == [*COLUMNS, "displacement"]


def test_an_anchor_chooses_its_group(explorer, pair) -> None:
    a, _ = pair
    explorer.anchor = "read"
    header, _ = unpack(explorer.payload)
    members = next(g["members"] for g in header["groups"] if g["anchor"] == 0)
    assert explorer.selection == clips(a, lambda row: a.labels[row] in members)
    assert len(members) > 1
    explorer.anchor = ""
    assert explorer.selection == []


def test_a_cell_chooses_its_clips_of_a_side(explorer, pair) -> None:
    a, b = pair
    explorer.cell = ["read", "write"]
    assert explorer.selection == clips(a, lambda r: (a.labels[r], a.predicted[r]) == (0, 1))
    assert len(explorer.selection) == 2
    explorer.side = "b"
    assert explorer.selection == []
    explorer.cell = ("type", "read")
    assert explorer.selection == clips(b, lambda r: (b.labels[r], b.predicted[r]) == (2, 0))
    assert explorer.cell == ["type", "read"]


def test_none_is_no_choice(explorer) -> None:
    explorer.cell = ["read", "write"]
    explorer.cell = None
    assert (explorer.cell, explorer.selection) == ([], [])
    explorer.anchor = "read"
    explorer.anchor = None
    assert (explorer.anchor, explorer.selection) == ("", [])


def test_without_a_cell_the_anchor_counts_again(explorer) -> None:
    explorer.anchor = "read"
    group = explorer.selection
    explorer.cell = ["read", "write"]
    assert 0 < len(explorer.selection) < len(group)
    explorer.cell = []
    assert explorer.selection == group
    explorer.anchor = ""
    explorer.cell = ["read", "write"]
    explorer.cell = []
    assert explorer.selection == []


def test_a_selection_by_hand_leaves_the_cell(explorer, pair) -> None:
    explorer.cell = ["read", "write"]
    explorer.selection = ["s00003", "s00001", "s00003"]
    assert (explorer.selection, explorer.cell) == (["s00003", "s00001"], [])
    explorer.cell = ["read", "write"]
    explorer.anchor = "type"
    assert explorer.cell == []


@pytest.mark.parametrize("kind", [tuple, np.array, pd.Index, pd.Series, iter])
def test_ids_come_in_many_kinds(explorer, kind) -> None:
    explorer.selection = kind(["s00003", "s00001"])
    assert explorer.selection == ["s00003", "s00001"]
    assert {type(name) for name in explorer.selection} == {str}


def test_what_the_page_says_is_taken_as_it_is(explorer) -> None:
    explorer.set_state({"cell": ["read", "write"], "side": "a", "selection": ["s00002"]})
    assert (explorer.cell, explorer.selection) == (["read", "write"], ["s00002"])
    explorer.set_state({"anchor": "type", "cell": [], "selection": ["s00001"]})
    assert (explorer.anchor, explorer.selection) == ("type", ["s00001"])
    explorer.set_state({"selection": ["s00005"], "cell": ["type", "read"]})
    assert (explorer.cell, explorer.selection) == (["type", "read"], ["s00005"])
    # and Python's rules are back
    explorer.selection = ["s00001"]
    assert explorer.cell == []


def test_a_page_that_says_nonsense_does_no_harm(explorer) -> None:
    explorer.set_state({"selection": ["gone"], "anchor": "gone", "cell": ["gone"]})
    assert len(explorer.selected) == 0
    explorer.set_state({"cell": ["gone", "read"]})
    explorer.side = "b"
    assert explorer.selection == []
    explorer.anchor = "read"
    assert len(explorer.selected) > 0


@pytest.mark.parametrize(
    ("trait", "value", "text"),
    [
        ("selection", ["s00001", "s0002"], "1 of 2 are no sample ids.*'s0002'.*Did you mean 's0"),
        ("anchor", "raed", "Unknown anchor class 'raed'. Did you mean 'read'"),
        ("cell", ["read", "writing"], "Unknown class of a cell 'writing'. Did you mean 'write'"),
        ("cell", ["read"], r"expected \[true class, predicted class\] or \[\]; got \['read'\]"),
        ("side", "c", "Unknown side 'c'.*Available: a, b"),
    ],
)
def test_what_is_not_there_is_said_and_changes_nothing(explorer, trait, value, text) -> None:
    explorer.cell = ["read", "write"]
    before = (explorer.selection, explorer.cell, explorer.anchor, explorer.side)
    with pytest.raises(UserError, match=text):
        setattr(explorer, trait, value)
    with pytest.raises(UserError, match=text), explorer.hold_trait_notifications():
        setattr(explorer, trait, value)
    assert (explorer.selection, explorer.cell, explorer.anchor, explorer.side) == before


def test_one_id_is_enough(explorer) -> None:
    explorer.selection = "s00001"
    assert explorer.selection == ["s00001"]


@pytest.mark.parametrize("value", [None, 3, [1], [["s00001"]]])
def test_a_selection_is_a_list_of_ids(explorer, value) -> None:
    with pytest.raises(traitlets.TraitError, match="selection"):
        explorer.selection = value


def test_two_explorers_share_a_selection(explorer, pair) -> None:
    other = frviz.explore(pair[0], method="none")
    traitlets.link((explorer, "selection"), (other, "selection"))
    explorer.selection = ["s00003"]
    assert other.selection == ["s00003"]
    explorer.set_state({"selection": ["s00002"], "cell": ["read", "write"]})  # by its page
    assert (other.selection, explorer.cell) == (["s00002"], ["read", "write"])
    other.cell = ["read", "write"]
    assert explorer.selection == other.selection
    assert (explorer.cell, other.cell) == ([], ["read", "write"])
    link = jslink((explorer, "selection"), (other, "selection"))  # in the browser alone
    assert link.source == (explorer, "selection")


def test_a_selection_of_two_models_as_a_table(explorer, pair) -> None:
    a, b = pair
    explorer.selection = ["s00006", "s00000", "s00001"]
    table = explorer.selected
    assert list(table.index) == ["s00006", "s00000", "s00001"]
    assert table["class"].tolist() == ["type", "read", "write"]
    assert table["a_predicted"].tolist() == ["type", "write", "write"]
    assert table["b_predicted"].tolist() == ["read", "read", "write"]
    assert table["outcome"].tolist() == ["broken", "fixed", "both right"]
    p = np.exp([3, 1, 0, 0]) / np.exp([3, 1, 0, 0]).sum()
    np.testing.assert_allclose(table["a_confidence"], p[0])
    np.testing.assert_allclose(table["a_p_true"], [p[0], p[3], p[0]])
    assert not table["copy"].any()
    moved = frviz.embed_pair(a, b, method="pca").loc[table.index, "displacement"]
    np.testing.assert_allclose(table["displacement"], moved)


def test_a_selection_of_one_model_with_its_history(pair, make_run) -> None:
    run = make_run(pair[0], [pair[0].labels, pair[0].predicted])
    explorer = frviz.explore(pair[0].save(run.path / "predictions" / "test-0.npz"), method="none")
    assert explorer.selected.empty
    explorer.selection = ["s00000", "s00001"]
    table = explorer.selected
    assert list(table.columns) == ["class", "predicted", "outcome", "confidence", "p_true", "copy",
                                   "status", "learnt_at", "forgettings"]  # fmt: skip
    assert table["outcome"].tolist() == ["wrong", "right"]
    assert table["status"].tolist() == ["forgotten", "learnt"]
    assert table["learnt_at"].isna().tolist() == [True, False]
    assert table["forgettings"].tolist() == [1, 0]


def test_the_groups_of_the_page_are_there_in_python(explorer, pair) -> None:
    table = frviz.compare(*pair).groups
    pd.testing.assert_frame_equal(explorer.groups, table)
    explorer.anchor = table.index[1]
    inside = np.isin(
        pair[0].labels, [pair[0].class_names.index(n) for n in table["members"].iloc[1]]
    )
    assert explorer.selection == [pair[0].sample_ids[row] for row in np.flatnonzero(inside)]


def test_a_class_without_a_group_is_chosen_alone(make) -> None:
    explorer = frviz.explore(make([0, 1, 2, 2], [1, 1, 2, 2]), method="none")
    assert list(explorer.groups.index) == ["c0"]
    explorer.anchor = "c2"
    assert explorer.selection == ["s00002", "s00003"]


def test_a_comparison_opens_its_explorer(pair) -> None:
    found = frviz.compare(*pair, names=("plain", "FR Head"))
    explorer = found.explore(method="pca")
    assert repr(explorer) == (
        "Explorer('plain' (A) and 'FR Head' (B), 24 clips, 4 classes, 0 chosen)"
    )
    assert isinstance(explorer, frviz.Explorer)
    table = frviz.embed_pair(*pair, method="pca")
    assert unpack(found.explore(maps=table).payload)[0]["maps"][0]["key"] == "backbone/pca"


def test_it_shows_itself(explorer) -> None:
    data, _ = explorer._repr_mimebundle_()
    assert data["text/plain"] == repr(explorer)
    assert "application/vnd.jupyter.widget-view+json" in data
    one = frviz.explore(replace(explorer._subject.a), names="x\u202ey", method="none")
    assert repr(one) == "Explorer('x?y', 24 clips, 4 classes, 0 chosen)"


def test_names_and_sources_that_do_not_fit_are_said(pair) -> None:
    with pytest.raises(UserError, match="names: expected one"):
        frviz.explore(pair[0], names=("a", "b"))
    with pytest.raises(UserError, match="names: expected two"):
        frviz.explore(*pair, names="ab c")
    with pytest.raises(UserError, match="Lists of runs"):
        frviz.explore(list(pair))
    with pytest.raises(UserError, match="reference: one run judges one model"):
        frviz.explore(pair[0], reference=list(pair))
    for x in (pair, pair[:1]):
        for seed in (-1, 0.5, "0", 2**31):
            with pytest.raises(UserError, match="seed: expected a whole number from 0 to 21474836"):
                frviz.explore(*x, method="none", seed=seed)
    assert frviz.explore(pair[0], names=3, method="none")._subject.names == ("3",)


def test_hard_predictions_of_many_classes_are_enough(make) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 120, 600)
    explorer = frviz.explore(make(labels, (labels + (rng.random(600) < 0.3)) % 120, 120))
    explorer.cell = ["c5", "c6"]
    assert (explorer.selected["predicted"] == "c6").all()
    assert explorer.selected["p_true"].isna().all()


# ---- messages


def test_details_are_answered(explorer, sent) -> None:
    explorer._handle_custom_msg({"kind": "details", "request": 7, "id": "s00000"}, [])
    ((reply, buffers),) = sent
    assert reply == {"kind": "details", "request": 7, "payload": True, "error": None}
    header, _ = unpack(buffers[0])
    assert (header["kind"], header["id"], header["rival"]) == ("details", "s00000", 1)


def test_maps_are_made_once_without_a_progress_bar(explorer, sent, monkeypatch, capsys) -> None:
    made = []
    make_map = widget_module.make_map
    monkeypatch.setattr(
        widget_module, "make_map", lambda *a, **k: made.append(k["method"]) or make_map(*a, **k)
    )
    capsys.readouterr()
    for request, method in enumerate(["tsne", "tsne", "pca"]):
        explorer._handle_custom_msg(
            {"kind": "map", "request": request, "space": "backbone", "method": method}, []
        )
    assert made == ["tsne"]
    assert capsys.readouterr() == ("", "")
    headers = [unpack(buffers[0])[0] for _, buffers in sent]
    assert [h["map"]["key"] for h in headers] == ["backbone/tsne", "backbone/tsne", "backbone/pca"]
    assert set(unpack(sent[0][1][0])[1]) == {"map0_a", "map0_b", "star0_a", "star0_b"}


def test_a_run_predicts_another_space_when_its_map_is_asked_for(
    scored, make_run, monkeypatch
) -> None:
    labels, predicted = [0, 1, 2] * 4, [0, 1, 1] * 4
    here = scored(labels, predicted)
    there = scored(labels, predicted, spaces=("backbone", "fin.spatial"))
    run, asked = make_run(here, [predicted]), []
    np.savez(run.path / "calibration.npz", spaces=np.array(["fin.spatial"]))

    def predict(source, *, split="test", spaces=("backbone",)):
        asked.append(spaces)
        return there if "fin.spatial" in spaces else here

    for module in (subject_module, source_module):
        monkeypatch.setattr(module, "predictions_of", predict)
    explorer = frviz.explore(run, method="pca")
    header, _ = unpack(explorer.payload)
    assert {choice["space"] for choice in header["map_choices"]} == {"backbone", "fin.spatial"}
    assert ("fin.spatial",) not in asked  # not before it is asked for
    made = explorer._made("fin.spatial", "pca")
    assert made.attrs["content"] == frviz.embed(there, space="fin.spatial").attrs["content"]
    assert ("fin.spatial",) in asked
    frviz.explore(run, maps=made)  # and such a map can be given
    one_has_none = frviz.explore(run, here, method="none")
    assert one_has_none._subject.spaces == ["backbone"]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"kind": "details", "request": 1, "id": "s0000"}, "no clip 's0000' here. Did you mean"),
        ({"kind": "details", "request": 1}, "no clip 'None' here"),
        ({"kind": "map", "request": 1, "space": "x", "method": "pca"}, "Unknown space 'x'"),
        ({"kind": "map", "request": 1, "space": "backbone", "method": "x"}, "Unknown method 'x'"),
    ],
)
def test_mistakes_are_answers(explorer, sent, message, text) -> None:
    explorer._handle_custom_msg(message, [])
    ((reply, buffers),) = sent
    assert (reply["payload"], buffers, reply["request"]) == (False, [], 1)
    assert text in reply["error"]


def test_what_fails_is_logged_and_said(explorer, sent, monkeypatch, caplog) -> None:
    def broken(*_, **__):
        raise ZeroDivisionError("inside")

    monkeypatch.setattr(widget_module, "clip_details", broken)
    explorer._handle_custom_msg({"kind": "details", "request": 1, "id": "s00000"}, [])
    assert sent[0][0]["error"] == "failed: see the log"
    assert "inside" in caplog.text
    for strange in ("text", None, {"kind": "x\u202e"}, {}):
        explorer._handle_custom_msg(strange, [])
    assert len(sent) == 1


def test_the_page_speaks_on_a_thread_of_its_own(explorer, sent) -> None:
    """What it is told there, while a cell sets traits, does not switch off the cell's rules."""
    asked = {"kind": "details", "request": 1, "id": "s00000"}
    errors = []

    def page() -> None:
        try:
            for _ in range(50):
                explorer._handle_custom_msg(asked, [])
        except BaseException as error:  # a thread's own would be lost
            errors.append(error)

    thread = threading.Thread(target=page)
    thread.start()
    for name in ["read", "write"] * 25:
        explorer.anchor = name
        assert explorer.selection
    thread.join()
    assert errors == []
    assert {reply["error"] for reply, _ in sent} == {None} and len(sent) == 50
    holding, done = threading.Event(), threading.Event()

    def told() -> None:
        with explorer._as_they_are():  # as set_state does
            holding.set()
            done.wait(10)

    thread = threading.Thread(target=told)
    thread.start()
    holding.wait(10)
    explorer.anchor = ""
    assert explorer.selection == []
    done.set()
    thread.join()


def test_a_list_of_runs_needs_another_one(random_pair) -> None:
    a, b = random_pair(60)
    with pytest.raises(UserError, match="Lists of runs"):
        frviz.explore([a, b])
