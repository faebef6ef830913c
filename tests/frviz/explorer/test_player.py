"""The player that stands alone."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import frcore
from frcore.errors import UserError
from frcore.skeleton import COCO17, NTU25, Skeleton
from frviz.explorer.payload_format import decode_clip, unpack
from frviz.explorer.player import play

if TYPE_CHECKING:
    from playwright.sync_api import Page

RNG = np.random.default_rng(0)
CLIP = RNG.normal(size=(12, 25, 3))


def test_one_clip_becomes_a_payload() -> None:
    player = play(CLIP, skeleton="ntu25")
    header, arrays = unpack(player.payload)
    assert (header["kind"], header["version"], header["fps"]) == ("player", 1, 30)
    assert Skeleton.from_dict(header["skeleton"]) == NTU25
    assert header["titles"] == [""]
    [clip] = header["clips"]
    found = decode_clip(clip, arrays[clip["joints"]])
    assert np.abs(found[:, 0] - CLIP).max() < np.ptp(CLIP) / 30_000
    assert repr(player) == "Player(1 clip of 12 frames, ntu25)"


def test_several_clips_have_titles_and_lengths_of_their_own() -> None:
    two = RNG.normal(size=(5, 2, 25, 3))
    player = play([CLIP, two], skeleton=NTU25, titles=["<b>one</b>", "two"], fps=15)
    header, arrays = unpack(player.payload)
    assert [clip["title"] for clip in header["clips"]] == ["<b>one</b>", "two"]
    assert [clip["frames"] for clip in header["clips"]] == [12, 5]
    assert arrays["joints_1"].shape == (5, 2, 25, 3)
    assert header["fps"] == 15
    assert repr(player) == "Player(2 clips of 12, 5 frames, ntu25)"


def test_the_page_draws_lines_across_a_body_without_a_trunk() -> None:
    header, _ = unpack(play(RNG.normal(size=(4, 17, 2)), skeleton=COCO17).payload)
    assert header["skeleton"]["bones"][-2:] == [[5, 6], [11, 12]]
    assert header["skeleton"]["bones"][:-2] == COCO17.to_dict()["bones"]


def test_pixels_are_turned_upright() -> None:
    flat = RNG.normal(size=(4, 17, 2))
    header, arrays = unpack(play(flat, skeleton=COCO17, y_down=True).payload)
    found = decode_clip(header["clips"][0], arrays["joints_0"])
    np.testing.assert_allclose(found[:, 0], flat * (1, -1), atol=1e-3)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_clips_in_which_nobody_is_are_named(value: float, caplog) -> None:
    empty = np.full_like(CLIP, value)
    with pytest.raises(UserError, match="Nobody is in clip 1: all coordinates are 0, NaN or inf"):
        play(empty, skeleton="ntu25")
    with pytest.raises(UserError, match=r"Nobody is in clip 1 \('x\?'\), clip 2 \('y'\): all"):
        play([empty, empty], skeleton="ntu25", titles=["x\n", "y"])
    assert caplog.text == ""
    player = play([CLIP, empty], skeleton="ntu25", titles=["full", "empty"])
    (record,) = caplog.records  # beside others it is no mistake
    assert record.message.startswith("Nobody is in clip 2 ('empty'): ")
    assert repr(player) == "Player(2 clips of 12, 12 frames, ntu25)"


def test_one_known_coordinate_is_somebody(caplog) -> None:
    clip = np.full_like(CLIP, np.nan)
    clip[3, 4] = 1
    play(clip, skeleton="ntu25")
    assert caplog.text == ""


def test_a_stored_clip_plays() -> None:
    store = frcore.data.open_store("synthetic")
    rows = store.samples["num_persons"].to_numpy()
    clip = store.clip_at(int(np.flatnonzero(rows == 2)[0]))
    header, _ = unpack(play(clip, skeleton=store.benchmark.skeleton).payload)
    assert header["clips"][0]["persons"] == 2


@pytest.mark.parametrize(
    ("clips", "more", "words"),
    [
        (CLIP, {}, "needs a skeleton"),
        (CLIP, {"skeleton": "ntu52"}, "Did you mean 'ntu25'"),
        (CLIP, {"skeleton": [25]}, "Unknown skeleton"),
        (CLIP, {"skeleton": "ucla20"}, r"shape \(12, 25, 3\); expected \(T, 20, C\)"),
        (CLIP[0], {"skeleton": "ntu25"}, "A clip has shape"),
        ([], {"skeleton": "ntu25"}, "no clip"),
        ([CLIP, CLIP], {"skeleton": "ntu25", "titles": ["one"]}, "1 titles for 2 clips"),
        (CLIP, {"skeleton": "ntu25", "fps": 0}, "fps is 0"),
        (CLIP, {"skeleton": "ntu25", "fps": "30"}, "fps is '30'"),
        (CLIP, {"skeleton": "ntu25", "fps": float("nan")}, "fps is nan"),
    ],
)
def test_mistakes_are_named(clips: object, more: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        play(clips, **more)


@pytest.mark.browser
def test_a_file_of_its_own_plays(page: "Page", tmp_path: Path) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda r: said.append(r.url) if r.url.startswith("http") else None)
    titles = ["<img src=x onerror=alert(1)>", "second"]
    path = play([CLIP, CLIP[:7]], skeleton="ntu25", titles=titles).to_html(tmp_path / "player.html")
    page.goto(path.as_uri())
    page.get_by_role("button", name="Pause").wait_for()  # it plays by itself
    assert page.locator(".frx-player-title").all_inner_texts() == titles
    canvas = page.locator(".frx-player canvas").first
    canvas.focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Play", exact=True).wait_for()
    counter = page.locator(".frx-counter")
    for key, shown in [
        ("Home", "0 / 11"),
        ("ArrowRight", "1 / 11"),
        ("Shift+ArrowRight", "11 / 11"),
        ("ArrowLeft", "10 / 11"),
        ("End", "11 / 11"),
    ]:
        page.keyboard.press(key)
        assert counter.inner_text() == shown
    page.keyboard.press("+")
    assert page.get_by_label("Speed").input_value() == "2"
    before = canvas.screenshot()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 60, steps=4)
    page.mouse.up()
    page.mouse.move(0, 0)
    page.wait_for_timeout(100)
    assert canvas.screenshot() != before  # dragging turns it
    assert said == []


@pytest.mark.browser
def test_it_waits_for_who_asked_for_less_motion(page: "Page", tmp_path: Path) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(play(CLIP, skeleton="ntu25").to_html(tmp_path / "player.html").as_uri())
    page.get_by_role("button", name="Play", exact=True).wait_for()
    trails = page.get_by_role("button", name="Trails of hands and feet")
    assert trails.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        ("a01_p19_r01", "is an array, not str"),
        ([], "no clip"),
        (["x"], "is an array, not str"),
        (None, "is an array, not NoneType"),
        ([CLIP, None], "is an array, not NoneType"),
    ],
)
def test_what_is_no_clip_is_said(clips, words: str) -> None:
    with pytest.raises(UserError, match=words):
        play(clips, skeleton="ntu25")
