"""The exported page in a real browser: every view answers, nothing is fetched, names stay text."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
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
    names = [f"{HOSTILE}{k}" for k in range(len(names))] if hostile else names
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
    canvas = page.locator(".frx-map canvas").first
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    page.mouse.down()
    for dx, dy in ((0.99, 0.005), (0.99, 0.99), (0.005, 0.99)):
        page.mouse.move(box["x"] + dx * box["width"], box["y"] + dy * box["height"], steps=4)
    page.mouse.up()
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
    with page.expect_download() as download:
        page.locator(".frx-panel-table button", has_text="CSV").click()
    download.value.save_as(tmp_path / "clips.csv")
    with (tmp_path / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["clip"] for row in rows} == set(chosen(page))
    assert {row["outcome"] for row in rows} == {"fixed"}
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
    assert matrix_picture(page) == plain
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


def test_hostile_names_stay_text(page: Page, seen, synthetic_store: Store, tmp_path: Path) -> None:
    a, b = pair_on(synthetic_store, hostile=True)
    explorer = frviz.explore(a, b, names=(HOSTILE, f"</title>{HOSTILE}"), method="pca")
    path = explorer.to_html(tmp_path / "explorer.html", clips=8)
    opened(page, path)
    page.locator(".frx-group[data-anchor]").first.click()
    page.locator(".frx-matrix canvas").hover()
    page.locator(".frx-map canvas").first.hover()
    page.wait_for_timeout(300)
    assert page.locator("img").count() == 0
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
