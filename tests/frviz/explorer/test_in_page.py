"""The exported page in a real browser: every view answers, nothing is fetched, names stay text."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Page

import frviz
from frcore.data.store import Store
from frcore.predictions import Predictions

HOSTILE = "<img src=http://127.0.0.1:9/x onerror=alert(1)><script>alert(2)</script></script>"

pytestmark = pytest.mark.browser


def pair_on(store: Store, *, hostile: bool = False) -> tuple[Predictions, Predictions]:
    """Two models over the test clips of a store, one better than the other; features, too."""
    samples = store.split("test")
    labels = samples["label"].to_numpy()
    names = store.benchmark.class_names
    names = [f"{HOSTILE}\u202e{k}" for k in range(len(names))] if hostile else names
    ids = tuple(samples["sample_id"])
    facts = {"benchmark": store.benchmark.name, "fingerprint": store.fingerprint, "split": "test"}

    def model(noise: float, seed: int) -> Predictions:
        rng = np.random.default_rng(seed)
        features = np.eye(len(names))[labels] + noise * rng.normal(size=(len(ids), len(names)))
        return Predictions(ids, labels, class_names=tuple(names), logits=5 * features,
                           features={"backbone": features}, metadata=facts)  # fmt: skip

    return model(0.5, 1), model(0.4, 2)


def opened(page: Page, path: Path) -> None:
    """Opens a page and waits until it is drawn."""
    page.goto(path.as_uri())
    page.wait_for_selector(".frx-table .frx-space .frx-row", timeout=60_000)


def chosen(page: Page) -> list[str]:
    page.wait_for_timeout(50)  # the host is told after the views have been drawn
    return page.evaluate("document.querySelector('.frx-page').model.get('selection')")


def trait(page: Page, name: str) -> object:
    page.wait_for_timeout(50)
    return page.evaluate("name => document.querySelector('.frx-page').model.get(name)", name)


def until(page: Page, holds: Callable[[], bool]) -> None:
    """Waits; the page's policy forbids what Playwright's own wait_for_function does."""
    for _ in range(200):
        if holds():
            return
        page.wait_for_timeout(50)
    pytest.fail("it never came to hold")


def saved(page: Page, path: Path) -> pd.DataFrame:
    """The table's rows as it saves them; the file has the name that it is given."""
    with page.expect_download() as download:
        page.locator(".frx-panel-table button", has_text="CSV").click()
    assert download.value.suggested_filename == path.name
    download.value.save_as(path)
    return pd.read_csv(path)


@pytest.fixture
def trained(synthetic_store: Store, make_run: Callable) -> tuple[Path, Path]:
    """Predictions of two runs, with a history of ten epochs each."""
    paths = []
    for model in pair_on(synthetic_store):
        rng = np.random.default_rng(3)
        wrong = (model.labels + 1) % model.num_classes
        epochs = [np.where(rng.random(len(model)) < e / 10, model.labels, wrong) for e in range(9)]
        run = make_run(model, [*epochs, model.predicted])
        paths.append(model.save(run.path / "predictions" / "test.npz"))
    return tuple(paths)


def lasso_around(page: Page, pane: int) -> None:
    """Draws around all that a map shows."""
    box = page.locator(".frx-map-canvas").nth(pane).bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    for dx, dy in ((0.99, 0.005), (0.99, 0.99), (0.005, 0.99)):
        page.mouse.move(box["x"] + dx * box["width"], box["y"] + dy * box["height"], steps=4)
    page.mouse.up()


@pytest.fixture
def exported(synthetic_store: Store, tmp_path: Path) -> tuple[Path, Predictions, Predictions]:
    a, b = pair_on(synthetic_store)
    explorer = frviz.explore(a, b, names=("plain", "FR Head"), method="pca")
    return explorer.to_html(tmp_path / "explorer.html", clips=24), a, b


def test_every_view_answers_and_nothing_is_fetched(
    page: Page, seen, exported, tmp_path: Path
) -> None:
    path, a, b = exported
    opened(page, path)

    # a group: its clips are those of its classes
    row = page.locator(".frx-group[data-anchor]").first
    row.click()
    anchor = trait(page, "anchor")
    group = frviz.compare(a, b).groups.loc[anchor, "members"]
    wanted = {i for i, k in zip(a.sample_ids, a.labels, strict=True) if a.class_names[k] in group}
    assert set(chosen(page)) == wanted

    # escape leaves everything; a lasso around a whole map chooses every clip
    page.keyboard.press("Escape")
    assert chosen(page) == []
    lasso_around(page, 0)
    assert set(chosen(page)) == set(a.sample_ids)

    # colours by class: a key of the legend, and a star, choose the class's group
    page.keyboard.press("Escape")
    row.click()
    page.locator(".frx-panel-maps select").nth(1).select_option("class")
    keys = page.locator("button.frx-key")
    assert keys.all_text_contents() == [*group, "other classes"]
    keys.nth(1).click()
    assert trait(page, "anchor") == group[1]
    page.keyboard.press("Escape")

    # a cell of the matrix by keyboard: the first one on the diagonal is a class's right clips
    page.locator(".frx-matrix canvas").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    true, predicted = trait(page, "cell")
    assert true == predicted
    number = a.class_names.index(true)
    right = (a.labels == number) & (a.predicted == number)
    assert chosen(page) == [i for i, hit in zip(a.sample_ids, right, strict=True) if hit]

    # fixed clips, as CSV
    page.locator(".frx-outcome", has_text="fixed").click()
    fixed = ~a.correct & b.correct
    assert set(chosen(page)) == {i for i, hit in zip(a.sample_ids, fixed, strict=True) if hit}
    rows = saved(page, tmp_path / "clips_plain_FR-Head.csv")
    assert rows["sample_id"].tolist() == chosen(page)  # both are in the order of the clips
    assert set(rows["outcome"]) == {"fixed"}
    assert seen == {"requests": [path.as_uri(), "blob:"], "console": [], "dialogs": []}


def test_the_legend_chooses_many_clips_by_keyboard(page: Page, seen, exported) -> None:
    path, a, b = exported
    opened(page, path)
    ids = np.array(a.sample_ids)
    fixed, broken = set(ids[~a.correct & b.correct]), set(ids[a.correct & ~b.correct])
    assert fixed and broken
    page.get_by_role("button", name="fixed", exact=True).focus()
    page.keyboard.press("Enter")
    assert set(chosen(page)) == fixed
    page.keyboard.press("Tab")  # the legend is drawn anew, and keeps the focus
    page.keyboard.press("Shift+Enter")
    assert set(chosen(page)) == fixed | broken
    page.keyboard.press("Enter")
    assert set(chosen(page)) == broken
    assert seen["console"] == []


@pytest.mark.parametrize("pane", [0, 1])
def test_what_is_zoomed_to_is_in_both_maps(page: Page, seen, exported, pane: int) -> None:
    path, a, _ = exported
    opened(page, path)
    one = a.sample_ids[:1]
    page.evaluate("ids => document.querySelector('.frx-page').model.set('selection', ids)", one)
    page.locator(".frx-map-canvas canvas").first.focus()
    page.keyboard.press("f")
    page.wait_for_timeout(100)
    lasso_around(page, pane)
    found = chosen(page)
    assert one[0] in found
    assert len(found) < len(a.sample_ids)  # it did zoom
    assert seen["console"] == []


def test_outcomes_within_a_group_and_what_python_chose_beside_it(
    page: Page, seen, exported
) -> None:
    path, a, b = exported
    opened(page, path)
    ids, names = np.array(a.sample_ids), np.array(a.class_names)
    fixed, broken = ~a.correct & b.correct, a.correct & ~b.correct
    groups = frviz.compare(a, b).groups
    within = {k: np.isin(names[a.labels], group) for k, group in groups["members"].items()}
    parted = {k: inside for k, inside in within.items() if 0 < (fixed & inside).sum() < fixed.sum()}
    anchor, inside = next(iter(parted.items()))
    row = page.locator(f".frx-group[data-anchor='{a.class_names.index(anchor)}']")
    chip = page.locator(".frx-chip").last
    field = {name: page.locator(".frx-outcome", has_text=name) for name in ("fixed", "broken")}
    group = set(ids[inside])

    row.click()
    assert set(chosen(page)) == group
    assert field["fixed"].text_content() == f"{(fixed & inside).sum()} of {fixed.sum()}fixed"
    field["fixed"].click()  # those that it counts
    assert set(chosen(page)) == set(ids[fixed & inside])
    field["broken"].click(modifiers=["Shift"])
    assert set(chosen(page)) == set(ids[(fixed | broken) & inside])
    page.get_by_role("button", name="fixed", exact=True).click()  # the legend does the same
    assert set(chosen(page)) == set(ids[fixed & inside])
    row.click()  # again: its clips come back first
    assert set(chosen(page)) == group
    assert "group" not in chip.text_content()
    row.click()
    assert chosen(page) == []
    assert trait(page, "anchor") == ""

    row.click()
    strange = [str(ids[~inside][0]), str(ids[inside][0])]
    assert set(chosen(page)) == group  # the host has heard of the click
    page.evaluate("ids => document.querySelector('.frx-page').model.set('selection', ids)", strange)
    assert chip.text_content().startswith("2 clips chosen, 1 of them in the group")
    field["fixed"].click()
    assert set(chosen(page)) == set(ids[fixed & inside])
    assert seen["console"] == []


def test_colours_of_the_maps_follow_the_theme(page: Page, seen, exported) -> None:
    page.emulate_media(color_scheme="dark")
    opened(page, exported[0])
    script = "getComputedStyle(document.querySelector('.frx-key i')).backgroundColor"

    def light_of_right_clips() -> int:
        return int(re.search(r"\d+", page.evaluate(script))[0])

    until(page, lambda: light_of_right_clips() < 110)  # near-white, they outshone the mistakes
    page.emulate_media(color_scheme="light")
    until(page, lambda: light_of_right_clips() > 160)
    assert seen["console"] == []


def has_focus(page: Page) -> bool:
    script = "document.querySelector('.frx-root').contains(document.activeElement)"
    return page.evaluate(script)


def matrix_picture(page: Page) -> str:
    page.wait_for_timeout(100)  # it is drawn with the next frame of the screen
    return page.evaluate("document.querySelector('.frx-matrix canvas').toDataURL()")


def test_a_cell_of_b_minus_a_is_named_and_outlined(page: Page, seen, exported) -> None:
    path, a, b = exported
    opened(page, path)
    page.locator(".frx-segment[data-value=diff]").click()
    plain = matrix_picture(page)
    page.locator(".frx-matrix canvas").focus()
    page.keyboard.press("ArrowDown")  # the first cell of the diagonal
    for _ in a.class_names:  # until a class of which the models differ
        page.keyboard.press("Enter")
        if chosen(page):
            break
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
    chips = page.locator(".frx-chip")
    name, count = re.match(
        r"B \u2212 A: (.+) right, (\d+) clips? differs?", chips.first.text_content()
    ).groups()
    number = a.class_names.index(name)
    differ = (a.labels == number) & (a.correct != b.correct)
    assert chosen(page) == [i for i, hit in zip(a.sample_ids, differ, strict=True) if hit]
    assert int(count) == differ.sum()
    assert trait(page, "cell") == []  # a cell is one model's

    leave = chips.first.get_by_role("button")
    leave.focus()  # the keyboard's own mark leaves the matrix, the chosen cell's outline does not
    assert matrix_picture(page) != plain
    leave.click()
    assert chosen(page) == []
    assert chips.count() == 0
    assert has_focus(page)  # the button that had it is gone
    assert matrix_picture(page) == plain

    # a cell of one model, from Python: its matrix is shown instead of the change
    name = a.class_names[int(b.predicted[0])]
    page.evaluate(
        """name => { const { model } = document.querySelector('.frx-page');
        model.set('side', 'b'); model.set('cell', [name, name]); model.set('selection', []); }""",
        name,
    )
    assert page.locator(".frx-segment[data-value=b]").get_attribute("aria-pressed") == "true"
    assert matrix_picture(page) != plain
    assert seen["console"] == []


def test_a_clip_plays_and_its_neighbours_beside_it(page: Page, seen, exported) -> None:
    path, _, _ = exported
    opened(page, path)
    page.locator(".frx-outcome", has_text="broken").click()
    page.wait_for_selector(".frx-panel-clip canvas")
    until(page, lambda: page.locator(".frx-panel-clip canvas").count() >= 5)
    titles = page.locator(".frx-player-title").all_text_contents()
    assert [title.partition(":")[0] for title in titles[:2]] == [
        "This clip",
        "Nearest of its class",
    ]
    scrub, play = page.locator(".frx-range"), page.locator(".frx-play")

    def frame() -> float:
        return float(scrub.input_value())

    scrub.scroll_into_view_if_needed()
    before = frame()  # it plays by itself, where it is in sight
    until(page, lambda: frame() != before)
    play.click()
    paused = frame()
    page.wait_for_timeout(400)
    assert frame() == paused
    page.locator(".frx-player-canvas canvas").first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert frame() == 1
    page.keyboard.press(" ")
    until(page, lambda: frame() > 3)
    first = chosen(page)[0]
    page.locator(".frx-map canvas").first.focus()
    page.keyboard.press("ArrowRight")  # the next of the chosen clips
    until(page, lambda: first not in page.locator(".frx-twin").text_content())
    assert seen["console"] == []


def test_colours_of_differences_need_aligned_time(page: Page, seen, exported) -> None:
    opened(page, exported[0])
    page.locator(".frx-outcome", has_text="broken").click()
    page.wait_for_selector(".frx-strip-key")
    clip = page.locator(".frx-panel-clip")
    parts, difference = (clip.locator(f"[data-value={name}]") for name in ("parts", "values"))
    difference.click()
    clip.locator("[data-value=own]").click()
    assert difference.is_disabled()
    assert "Aligned" in difference.get_attribute("title")
    assert parts.get_attribute("aria-pressed") == "true"
    clip.locator("[data-value=aligned]").click()
    assert difference.is_enabled()
    assert difference.get_attribute("aria-pressed") == "true"

    for part in (".frx-play", ".frx-player-canvas canvas"):
        page.locator(".frx-outcome", has_text="broken").click()
        page.wait_for_selector(part)
        page.locator(part).first.focus()
        page.keyboard.press("Escape")  # takes the player away, and the focus with it
        assert page.locator(part).count() == 0
        assert has_focus(page)
    assert seen["console"] == []


def test_fault_18_hostile_names_stay_text(
    page: Page, seen, synthetic_store: Store, tmp_path: Path
) -> None:
    a, b = pair_on(synthetic_store, hostile=True)
    explorer = frviz.explore(a, b, names=(HOSTILE, f"</title>{HOSTILE}"), method="pca")
    path = explorer.to_html(tmp_path / "explorer.html", clips=8)
    opened(page, path)
    page.locator(".frx-group[data-anchor]").first.click()
    page.locator(".frx-matrix canvas").hover()
    page.locator(".frx-map canvas").first.hover()
    page.wait_for_timeout(300)
    assert page.locator("img").count() == 0
    assert "\u202e" in trait(page, "anchor")  # a class is called what Python calls it
    shown = page.locator(".frx-root").inner_html()
    assert "\u202e" not in shown  # but no name mirrors what follows it
    assert "&lt;/script&gt;?" in shown
    assert HOSTILE in page.locator(".frx-models").text_content()
    assert seen == {"requests": [path.as_uri(), "blob:"], "console": [], "dialogs": []}


def test_hard_predictions_say_what_is_left_out(page: Page, seen, make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 60, 3000)
    near = (labels + 1) % 60
    a, b = (make(labels, np.where(rng.random(3000) < q, labels, near), 60) for q in (0.8, 0.85))
    path = frviz.explore(a, b).to_html(tmp_path / "explorer.html")
    opened(page, path)
    assert page.locator(".frx-panel-maps").count() == 0
    assert "no maps" in page.locator(".frx-absent").text_content()
    page.locator(".frx-panel-table .frx-row").nth(3).click()
    assert seen["console"] == []


def test_a_page_without_clips_scores_and_maps_leaves_no_holes(
    page: Page, seen, make, tmp_path: Path
) -> None:
    a, b = make([0, 1, 1, 2], [0, 1, 0, 2], 3), make([0, 1, 1, 2], [0, 1, 1, 0], 3)
    path = frviz.explore(a, b, names=("x", "y")).to_html(tmp_path / "explorer.html")
    opened(page, path)
    heads = page.locator(".frx-row-head button").all_text_contents()
    assert heads == ["clip", "true class", "A says", "B says", "outcome \u2193"]  # none plays
    assert page.locator(".frx-watch").count() == 0  # there is no clip to go to
    rows = saved(page, tmp_path / "clips_x_y.csv")
    assert list(rows) == ["sample_id", "class", "a_predicted", "b_predicted", "outcome", "copy"]
    groups, outcomes, table = (
        page.locator(f".frx-panel-{name}").bounding_box()
        for name in ("groups", "outcomes", "table")
    )
    for above, below in ((groups, outcomes), (outcomes, table)):
        assert below["y"] - above["y"] - above["height"] == pytest.approx(10)
    assert seen["console"] == []


def test_the_table_saves_what_python_calls_selected(
    page: Page, seen, trained, tmp_path: Path
) -> None:
    explorer = frviz.explore(*trained, names=("plain model", "FR Head"), method="pca")
    opened(page, explorer.to_html(tmp_path / "explorer.html", clips=6))
    rows = saved(page, tmp_path / "clips_plain-model_FR-Head.csv").set_index("sample_id")
    explorer.selection = list(rows.index)
    there = explorer.selected
    assert len(there) == len(explorer._subject.a)
    assert list(rows) == list(there)
    for name, column in rows.items():
        if name.endswith(("confidence", "p_true", "displacement")):
            np.testing.assert_allclose(column, there[name], atol=1e-4)
        elif name.endswith("learnt_at"):
            assert column.astype("Int64").equals(there[name].astype("Int64"))
        else:
            assert column.tolist() == there[name].tolist(), name


def test_a_clip_that_is_not_carried_tells_how_it_was_learnt(
    page: Page, seen, trained, tmp_path: Path
) -> None:
    explorer = frviz.explore(*trained, names=("plain", "FR Head"), method="none")
    opened(page, explorer.to_html(tmp_path / "explorer.html", clips=1))
    learnt = explorer._samples[lambda table: table["a_status"] == "learnt"]
    for name in learnt.index[:2]:
        page.locator(".frx-search").fill(name)
        page.locator(".frx-space .frx-row").first.click()
        epoch, lost = learnt.loc[name, ["a_learnt_at", "a_forgettings"]]
        often = {0: "", 1: ", forgotten once", 2: ", forgotten twice"}
        words = f"A: learnt at epoch {epoch}{often.get(lost, f', forgotten {lost} times')}"
        page.locator(".frx-history-words", has_text=words).wait_for()
        status = page.locator(".frx-twin-status").text_content()
        assert status.startswith("This clip is not carried by this file (1 of")
        canvas = page.locator(".frx-history-canvas canvas").first
        canvas.focus()
        page.keyboard.press("ArrowRight")  # reads the first epoch: nothing was right in it
        assert page.locator(".frx-history-words").first.text_content() == f"{words}epoch 1: wrong"
    assert seen["console"] == []


def test_a_row_says_which_clip_and_which_classes_it_is_of(
    page: Page, seen, synthetic_store: Store, tmp_path: Path
) -> None:
    ways = ("one hand", "two hands", "a stick")
    names = [f"pick up with {ways[k % 3]}" + (f" ({k})" if k > 2 else "") for k in range(18)]
    a, b = (replace(x, class_names=tuple(names)) for x in pair_on(synthetic_store))
    path = frviz.explore(a, b, method="pca").to_html(tmp_path / "explorer.html", clips=4)
    page.set_viewport_size({"width": 1280, "height": 900})
    opened(page, path)
    rows = page.locator(".frx-rows")
    cut = """el => [...el.querySelectorAll(".frx-space .frx-cut")].filter((cell) => {
      const [box, tail] = [cell, cell.lastChild].map((one) => one.getBoundingClientRect());
      return tail.right > box.right + 0.5 || tail.left < box.left - 0.5;
    }).map((cell) => cell.title)"""
    assert page.locator(".frx-space .frx-cut").count() > 30
    assert rows.evaluate(cut) == []  # the end of every name and id is seen
    first = page.locator(".frx-space .frx-row").first.locator("div").first
    before = first.bounding_box()["x"]
    rows.evaluate("el => { el.scrollLeft = 1000; }")
    page.wait_for_timeout(100)
    assert rows.evaluate("el => el.scrollLeft") > 50
    assert first.bounding_box()["x"] == pytest.approx(before)  # it stays
    table, panel = rows.bounding_box(), page.locator(".frx-panel-table").bounding_box()
    assert panel["y"] + panel["height"] - table["y"] - table["height"] < 15  # no room is left
    page.locator(".frx-search").fill("jump")
    assert page.locator(".frx-space").text_content() == "No clip matches."
    assert seen["console"] == []


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (420, 640)])
def test_a_button_goes_to_the_clip_that_plays(
    page: Page, seen, exported, width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(reduced_motion="reduce")  # nothing plays by itself
    opened(page, exported[0])
    watch = page.locator(".frx-watch")
    assert not watch.is_visible()
    page.locator(".frx-outcome", has_text="broken").click()
    until(page, lambda: page.locator(".frx-player").count() >= 2)
    assert watch.text_content() == "play the clip \u2193"
    watch.click()
    inside = """el => {
      const box = el.getBoundingClientRect();
      return box.top >= 0 && box.bottom <= innerHeight;
    }"""
    for part in (".frx-player-canvas", ".frx-play", ".frx-range"):
        assert page.locator(part).first.evaluate(inside)
    player = page.locator(".frx-player-canvas canvas").first
    assert player.evaluate("el => el === document.activeElement")
    scrub = page.locator(".frx-range")
    until(page, lambda: float(scrub.input_value()) > 2)
    page.keyboard.press(" ")
    assert page.locator(".frx-play").get_attribute("aria-label") == "Play"


@pytest.mark.parametrize(("classes", "first"), [(60, "classes"), (120, "clusters")])
def test_a_matrix_without_room_for_names_begins_with_clusters_and_says_where_they_are(
    page: Page, seen, make, tmp_path: Path, classes: int, first: str
) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 4000)
    near = labels // 4 * 4 + (labels + 1) % 4  # fours that are taken for one another
    a, b = (make(labels, np.where(rng.random(4000) < q, labels, near), classes) for q in (0.7, 0.8))
    page.set_viewport_size({"width": 900, "height": 900})  # the matrix has half of it
    opened(page, frviz.explore(a, b).to_html(tmp_path / "explorer.html"))
    pressed = page.locator(".frx-panel-matrix [aria-label='Classes shown'] [aria-pressed=true]")
    assert pressed.text_content() == first
    note = page.locator(".frx-matrix .frx-note")
    page.locator("[data-value=all]").click()
    until(page, lambda: "Names: point at a cell" in note.text_content())
    page.locator("[data-value=clusters]").click()
    until(page, lambda: "Names" not in note.text_content())
    assert seen["console"] == []


@pytest.mark.parametrize("width", [420, 900, 1500])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_is_wider_than_its_window(
    page: Page, seen, exported, width: int, scheme: str
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    opened(page, exported[0])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen["console"] == []
