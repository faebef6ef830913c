"""Stick figures: every joint where it belongs, in one scale, whatever the body."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from frcore.errors import UserError
from frcore.skeleton import COCO17, NTU25, UCLA20, Skeleton
from frviz.figures import clip_lengths, clip_strip
from frviz.figures.style import BLUE, GREY, ORANGE, SKY, VERMILLION

# A hip with a left hand (camera's right when it is looked at) and a right hand, metres.
BODY = Skeleton(
    name="body",
    joints=("hip", "left hand", "right hand"),
    bones=((1, 0), (2, 0)),
    parts={"left arm": (1,), "right arm": (2,)},
)
POSE = np.array([[0.0, 1.0, 3.0], [-0.5, 2.0, 3.0], [0.5, 1.5, 3.0]])


def bones(figure, part):
    """The drawn bones of a part, all persons: ((x, y), (x, y)) of child and parent."""
    found = []
    for trace in figure.data:
        if trace.name == part:
            ends = zip(trace.x, trace.y, strict=True)
            points = [(float(x), float(y)) for x, y in ends if x is not None]
            found += [tuple(points[i : i + 2]) for i in range(0, len(points), 2)]
    return found


def words(figure):
    (trace,) = [t for t in figure.data if t.mode == "text"]
    return list(trace.text)


def turned(clip, **options):
    """Offsets of the left hand from the hip, as drawn."""
    (hand, hip), *_ = bones(clip_strip(clip, BODY, frames=1, **options), "left arm")
    return pytest.approx((hand[0] - hip[0], hand[1] - hip[1]), abs=1e-3)


def test_a_frame_is_drawn_as_the_camera_sees_it_centred_and_on_the_floor():
    figure = clip_strip(POSE[None], BODY)
    # x grows to the camera's left, so x = -0.5 lies 0.5 to the right; the lowest joint is at 0.
    assert bones(figure, "left arm") == [((0.5, 1.0), (0.0, 0.0))]
    assert bones(figure, "right arm") == [((-0.5, 0.5), (0.0, 0.0))]


def test_frames_stand_side_by_side_and_clips_one_above_the_other():
    clip = np.repeat(POSE[None], 5, axis=0)
    figure = clip_strip([clip, clip[:2]], BODY, frames=3)
    left = bones(figure, "left arm")
    assert words(figure) == ["0", "2", "4", "0", "1"]
    hips = [hip for _, hip in left]
    width = 1.15 * 1.0  # widest of all, hand to hand
    height = 1.25 * 1.0
    expected = [(0, 0), (width, 0), (2 * width, 0), (0, -height), (width, -height)]
    assert np.allclose(hips, expected, atol=1e-3)
    assert figure.layout.yaxis.scaleanchor == "x"  # one metre is one metre both ways


def test_all_figures_lie_inside_the_axes():
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=(length, 2, 25, 3)) for length in (1, 9, 40)]
    figure = clip_strip(clips, NTU25, titles="abc")
    for axis in "xy":
        low, high = figure.layout[f"{axis}axis"].range
        drawn = [v for trace in figure.data for v in trace[axis] if v is not None]
        assert low <= min(drawn) and max(drawn) <= high


def test_the_camera_walks_around_and_looks_down():
    assert turned(POSE[None]) == (0.5, 1.0)
    ahead = POSE + [[0, 0, 0], [0, 0, -0.4], [0, 0, 0]]  # the hand comes 0.4 m nearer
    # Seen from the right the camera looks along +x and z grows to its right: near lies left.
    assert turned(ahead[None], azimuth=90) == (-0.4, 1.0)
    assert turned(ahead[None], azimuth=-90) == (0.4, 1.0)
    assert turned(ahead[None], elevation=90) == (0.5, -0.4)  # from above, what is near lies below


def test_left_is_blue_and_right_is_orange_for_every_known_body():
    for skeleton in (NTU25, UCLA20, COCO17):
        clip = np.random.default_rng(0).normal(size=(4, skeleton.num_joints, 3))
        colours = {t.name: t.line.color for t in clip_strip(clip, skeleton).data if t.name}
        assert colours["left arm"] == BLUE and colours["left leg"] == SKY
        assert colours["right arm"] == VERMILLION and colours["right leg"] == ORANGE


def test_shoulders_and_hips_of_a_body_without_a_trunk_are_joined_in_grey():
    pose = np.arange(34.0).reshape(17, 2)
    (grey,) = [t for t in clip_strip(pose[None], COCO17).data if t.name == "" and t.mode != "text"]
    names = ["left shoulder", "right shoulder", "left hip", "right hip"]
    assert [word.partition(",")[0] for word in grey.text if word] == names
    assert grey.line.color == GREY


@pytest.mark.parametrize("skeleton", [NTU25, UCLA20, COCO17])
def test_every_line_is_drawn_once_a_frame(skeleton):
    clip = np.random.default_rng(0).normal(size=(3, skeleton.num_joints, 2))
    figure = clip_strip(clip, skeleton, frames=3)
    drawn = sum(list(t.x).count(None) for t in figure.data if t.mode != "text")
    assert drawn == 3 * len(skeleton.lines)


def test_a_body_without_parts_is_told_by_its_sides_or_is_grey():
    chain = Skeleton(name="chain", joints=("a", "b", "c"), bones=((1, 0), (2, 0)))
    paired = Skeleton(
        name="paired", joints=("a", "b", "c"), bones=((1, 0), (2, 0)), left_right=((1, 2),)
    )
    grey = clip_strip(POSE[None], chain).data[0]
    assert grey.line.color == GREY and not grey.showlegend
    sides = [t.line.color for t in clip_strip(POSE[None], paired).data if t.mode != "text"]
    assert sides == [BLUE, VERMILLION]


def test_pixels_are_drawn_with_y_downwards_and_x_to_the_right():
    pixels = np.array([[[100.0, 200.0], [130.0, 150.0], [80.0, 180.0]]])
    ((hand, hip),) = bones(clip_strip(pixels, BODY, y_down=True), "left arm")
    assert (hand[0] - hip[0], hand[1] - hip[1]) == (30.0, 50.0)


def test_an_absent_person_is_not_drawn_and_does_not_move_the_floor():
    clip = np.stack([np.stack([POSE, np.zeros((3, 3))]), np.stack([POSE, POSE + (0.9, 0, 0)])])
    figure = clip_strip(clip, BODY, frames=2)
    assert len(bones(figure, "left arm")) == 2 + 1
    hips = sorted(hip for _, hip in bones(figure, "left arm"))
    assert [y for _, y in hips] == [0.0, 0.0, 0.0]
    # Second frame: from -1.4 to 0.5 around its middle, -0.45; person 2 stands on the left.
    width = 1.15 * 1.9
    assert np.allclose([x for x, _ in hips], [0.0, width - 0.45, width + 0.45], atol=1e-3)
    assert [t.opacity for t in figure.data if t.name == "left arm"] == [1, 0.5]


def test_missing_joints_and_empty_clips_are_left_out():
    lost = POSE.copy()
    lost[1] = np.nan
    figure = clip_strip(lost[None], BODY)
    assert bones(figure, "left arm") == [] and len(bones(figure, "right arm")) == 1
    empty = clip_strip(np.zeros((4, 3, 3)), BODY)
    assert [t.mode for t in empty.data] == ["text"]


def test_chosen_frames_are_drawn():
    clip = np.repeat(POSE[None], 9, axis=0)
    assert words(clip_strip(clip, BODY, frames=[8, 2])) == ["8", "2"]
    assert words(clip_strip(clip[:2], BODY, frames=6)) == ["0", "1"]


def test_fault_18_names_are_inert():
    evil = "<img src=x onerror=alert(1)>"
    skeleton = Skeleton(
        name="s", joints=(evil, "b", "c"), bones=((1, 0), (2, 0)), parts={evil: (1, 2)}
    )
    figure = clip_strip(POSE[None], skeleton, titles=[evil])
    drawn = str(figure.to_dict())  # its JSON has no < in any case
    assert "<img" not in drawn and "&lt;img" in drawn


@pytest.mark.parametrize(
    ("clip", "options", "message"),
    [
        (np.zeros((5, 20, 3)), {}, r"shape \(5, 20, 3\); expected \(T, 3, C\)"),
        (np.zeros((0, 3, 3)), {}, "shape"),
        (np.zeros((5, 3, 4)), {}, "2 or 3 coordinates"),
        (np.zeros((5, 3, 3)), {"titles": ["a", "b"]}, "2 titles for 1 clips"),
        (np.zeros((5, 3, 3)), {"frames": 0}, "frames is 0"),
        (np.zeros((5, 3, 3)), {"frames": [5]}, r"\[5\].*0..4"),
        ([], {}, "no clip"),
        (None, {}, "is an array, not NoneType"),
        (3.5, {}, "is an array, not float"),
        (np.ones((3, 64, 3, 2)), {}, r"3 frames of 64 persons.*transpose\(clip, \(1, 3, 2, 0\)\)"),
    ],
)
def test_a_mistake_is_named(clip, options, message):
    with pytest.raises(UserError, match=message):
        clip_strip(clip, BODY, **options)


def test_a_channels_first_array_is_mended_as_the_error_says():
    clip = np.random.default_rng(0).normal(size=(3, 64, 3, 2))  # (C, T, V, M)
    figure = clip_strip(np.transpose(clip, (1, 3, 2, 0)), BODY, frames=[63])
    assert words(figure) == ["63"]
    assert len(bones(figure, "left arm")) == 2  # one a person


def test_one_title_is_enough_for_one_clip():
    figure = clip_strip(POSE[None], BODY, titles="walk")
    assert [a.text for a in figure.layout.annotations] == ["<b>walk</b>"]


def test_titles_may_be_a_column_of_a_table():
    titles = pd.Series(["walk", "run"], index=[7, 9])
    figure = clip_strip([POSE[None], POSE[None]], BODY, titles=titles)
    assert [a.text for a in figure.layout.annotations] == ["<b>walk</b>", "<b>run</b>"]


def test_the_given_clip_is_not_changed():
    clip = POSE[None].copy()
    clip.setflags(write=False)
    clip_strip(clip, BODY)
    assert (clip == POSE[None]).all()


def test_lengths_are_counted_by_split():
    samples = pd.DataFrame(
        {"num_frames": [10, 20, 30, 40], "split_p": ["train", "train", "test", ""]}
    )
    figure = clip_lengths(samples, split="split_p")
    assert {t.name: list(t.x) for t in figure.data} == {"train": [10, 20], "test": [30]}
    with pytest.raises(UserError, match="split_q.*split_p"):
        clip_lengths(samples, split="split_q")


def test_figures_need_no_torch():
    code = "import sys, frviz.figures as f; f.clip_strip, f.bars; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


def test_parts_without_sides_have_a_colour_each() -> None:
    hand = Skeleton(
        "hand",
        ("wrist", "thumb", "first", "second"),
        bones=((1, 0), (2, 0), (3, 0)),
        parts={"thumb": (1,), "first finger": (2,), "second finger": (3,)},
    )
    figure = clip_strip(np.random.default_rng(0).normal(size=(4, 4, 3)), hand, frames=1)
    colours = {trace.name: trace.line.color for trace in figure.data if trace.name}
    assert list(colours) == ["thumb", "first finger", "second finger"]
    assert len(set(colours.values())) == 3
