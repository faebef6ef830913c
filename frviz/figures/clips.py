"""Skeleton clips as stick figures: small multiples over time, a clip a row."""

import textwrap
from collections.abc import Iterable, Sequence
from itertools import count

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from frcore.errors import UserError
from frcore.skeleton import Skeleton, get_skeleton
from frviz.figures.style import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    finish,
    text,
)

# By the first word of a part's name: left is blue, right is orange, in every figure.
_SIDES = {"left": (BLUE, SKY), "right": (VERMILLION, ORANGE), "": (GREY, GREEN, PURPLE)}
_NO_SIDES = {"": (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)}  # a hand's fingers, say
CROWD = 20  # persons; more in 2 or 3 frames are an array (C, T, V, M), M = 2, rather than that


def clip_strip(
    clips: np.ndarray | Sequence[np.ndarray],
    skeleton: Skeleton | str,
    *,
    titles: Sequence[str] | None = None,
    frames: int | Sequence[int] = 6,
    azimuth: float = 0.0,
    elevation: float = 0.0,
    y_down: bool = False,
    row_height: int = 165,
) -> go.Figure:
    """Stick figures of one or several clips, a clip a row, time from left to right.

    All have one scale, each frame is centred, the figures of a clip share their floor. Colours tell
    body parts: left blue, right orange; further persons are paler. A person whose coordinates are
    all zero in a frame is absent from it.

    Args:
        clips: one clip or several, each (T, V, C) or (T, M, V, C), metres, y up. C = 3 are a
            camera's coordinates (x to its left, z away from it) and drawn as the camera sees them.
        skeleton: the body, or the name of a known one.
        titles: one a clip.
        frames: how many, evenly spaced from the first to the last; or which ones, from 0.
        azimuth: degrees that the camera walks around the clip to its right; needs C = 3.
        elevation: degrees that it looks down; needs C = 3.
        y_down: for pixels, whose y grows downwards.
        row_height: pixels a clip.

    Raises:
        UserError: a clip of another shape, or not as many titles as clips.
    """
    skeleton = get_skeleton(skeleton)
    clips, titles = check_clips(clips, skeleton, titles)
    chosen = [_choose(len(clip), frames) for clip in clips]
    drawn = [
        _project(clip[which], skeleton, azimuth, elevation, y_down)
        for clip, which in zip(clips, chosen, strict=True)
    ]
    height = 1.25 * max(_extent(points[..., 1]) for points in drawn)
    width = max(1.15 * max(_extent(points[..., 0]) for points in drawn), 0.6 * height)
    figure = go.Figure()
    for row, points in enumerate(drawn):
        points += (0, -row * height)
        points[..., 0] += width * np.arange(len(points))[:, None, None]
    _add_bodies(figure, drawn, chosen, skeleton)
    _add_words(figure, chosen, titles, width, height)
    columns, rows = max(map(len, chosen)), len(clips)
    plain = {"visible": False, "constrain": "domain"}
    figure.update_xaxes(
        range=[-0.5 * width, (columns - 0.5) * width], constraintoward="left", **plain
    )
    figure.update_yaxes(
        range=[(0.88 - rows) * height, 0.88 * height],
        constraintoward="top",
        scaleanchor="x",
        **plain,
    )
    finish(figure, plot_height=row_height * rows, axes=False)
    figure.layout.height -= figure.layout.margin.b - 10
    return figure.update_layout(margin={"l": 130 if titles else 10, "r": 10, "b": 10})


def check_clips(
    clips: np.ndarray | Sequence[np.ndarray], skeleton: Skeleton, titles: Sequence[str] | None
) -> tuple[list[np.ndarray], list[str]]:
    """One clip or several as a list, each (T, M, V, C) float64, and their titles (or none).

    Raises:
        UserError: no clip, one that is no array or of another shape, or not as many titles.
    """
    one = not isinstance(clips, Iterable) or isinstance(clips, str)
    clips = [clips] if one or getattr(clips, "ndim", 0) in (3, 4) else clips
    clips = [_checked(clip, skeleton) for clip in clips]
    if not clips:
        raise UserError("There is no clip: give one or more arrays.")
    titles = [titles] if isinstance(titles, str) and len(clips) == 1 else titles
    titles = [] if titles is None else list(titles)
    if len(titles) not in (0, len(clips)):
        raise UserError(f"{len(titles)} titles for {len(clips)} clips; give one a clip.")
    return clips, titles


def _checked(clip: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(T, M, V, C) float64."""
    kind = type(clip).__name__
    try:
        clip = np.asarray(clip, dtype=np.float64)
    except (TypeError, ValueError):
        clip = np.empty(())
    if clip.ndim == 0:  # a number, too, and None, which is NaN
        raise UserError(f"A clip is an array, not {kind}; Store.clip(id) gives stored ones.")
    shape = clip.shape
    clip = clip[:, None] if clip.ndim == 3 else clip
    joints = skeleton.num_joints
    if clip.ndim != 4 or 0 in shape or shape[-2] != joints or shape[-1] not in (2, 3):
        raise UserError(
            f"A clip has shape {shape}; expected (T, {joints}, C) or (T, M, {joints}, C) with 2 or "
            f"3 coordinates for skeleton '{skeleton.name}'. Stored clips: Store.clip(sample_id)."
        )
    frames, persons = clip.shape[:2]
    if frames in (2, 3) and persons > CROWD:
        raise UserError(
            f"A clip of shape {shape} would be {frames} frames of {persons} persons. If it is "
            "(C, T, V, M), np.transpose(clip, (1, 3, 2, 0)) brings it in order."
        )
    return clip


def _choose(length: int, frames: int | Sequence[int]) -> np.ndarray:
    """Frame numbers: `frames` of them, evenly spaced, or those given."""
    if np.ndim(frames) == 0:
        if frames < 1:
            raise UserError(f"frames is {frames}; expected 1 or more, or frame numbers.")
        return np.unique(np.linspace(0, length - 1, frames).round().astype(int))
    outside = [f for f in frames if not 0 <= f < length]
    if outside or len(frames) == 0:
        raise UserError(f"frames {outside}: expected one or more of 0..{length - 1}.")
    return np.asarray(frames)


def _project(
    clip: np.ndarray, skeleton: Skeleton, azimuth: float, elevation: float, y_down: bool
) -> np.ndarray:
    """(F, M, V, 2): to the right and up as the camera sees it; NaN where nobody is.

    Each frame is centred; the lowest joint of the clip is at 0.
    """
    absent = (clip == 0).all(axis=(2, 3)) | np.isnan(clip).all(axis=(2, 3))
    x, y = clip[..., 0], clip[..., 1]
    if clip.shape[-1] == 3:
        turn, down = np.radians([azimuth, elevation])
        away = clip[..., 2]
        x, away = away * np.sin(turn) - x * np.cos(turn), away * np.cos(turn) + x * np.sin(turn)
        y = y * np.cos(down) + away * np.sin(down)
    points = np.stack([x, -y if y_down else y], axis=-1)
    points[absent] = np.nan
    if absent.all():
        return points
    present = ~absent.all(axis=1)
    middle = (np.nanmin(points[present, ..., 0], axis=(1, 2)) +
              np.nanmax(points[present, ..., 0], axis=(1, 2))) / 2  # fmt: skip
    points[present, ..., 0] -= middle[:, None, None]
    points[..., 1] -= np.nanmin(points[..., 1])
    return points


def _extent(values: np.ndarray) -> float:
    """Largest minus smallest; 1 where there is nothing to see."""
    known = values[np.isfinite(values)]
    return float(np.ptp(known)) or 1.0 if known.size else 1.0


def _add_bodies(
    figure: go.Figure, drawn: list[np.ndarray], chosen: list[np.ndarray], skeleton: Skeleton
) -> None:
    """One trace a body part and person: all its bones in all frames of all clips."""
    joints = [text(name) for name in skeleton.joints]
    for person in range(max(points.shape[1] for points in drawn)):
        for part, (colour, bones) in _parts(skeleton).items():
            x, y, names, sizes = [], [], [], []
            for points, which in zip(drawn, chosen, strict=True):
                if person >= points.shape[1]:
                    continue
                for frame, number in zip(points[:, person], which, strict=True):
                    for bone in bones:
                        if np.isfinite(frame[list(bone)]).all():
                            x += [*frame[list(bone), 0].round(4), None]
                            y += [*frame[list(bone), 1].round(4), None]
                            names += [f"{joints[j]}, frame {number}" for j in bone] + [""]
                            sizes += [9 if joints[j] == "head" else 4 for j in bone] + [0]
            if x:
                figure.add_scatter(
                    x=x,
                    y=y,
                    text=names,
                    mode="lines+markers",
                    line={"color": colour, "width": 3},
                    marker={"size": sizes, "color": colour, "opacity": 1, "line_width": 0},
                    opacity=1 if person == 0 else 0.5,
                    name=text(part),
                    legendgroup=text(part),
                    showlegend=person == 0 and bool(part),
                    hovertemplate="%{text}<extra></extra>",
                )


def _parts(skeleton: Skeleton) -> dict[str, tuple[str, list[tuple[int, int]]]]:
    """Part -> colour and lines. A bone belongs to its child's part; "" holds the others."""
    parts = {name: set(joints) for name, joints in skeleton.parts.items()}
    if not parts and skeleton.left_right:
        left, right = (set(side) for side in zip(*skeleton.left_right, strict=True))
        parts = {"left": left, "right": right}
    words = {name: name.lower().partition(" ")[0] for name in parts}
    sides = _SIDES if {"left", "right"} & set(words.values()) else _NO_SIDES
    turns = {side: count() for side in sides}
    found = {}
    for name, joints in parts.items():
        side = words[name] if words[name] in sides else ""
        colours = sides[side]
        bones = [bone for bone in skeleton.bones if bone[0] in joints]
        found[name] = (colours[next(turns[side]) % len(colours)], bones)
    known = {bone for _, bones in found.values() for bone in bones}
    rest = [line for line in skeleton.lines if line not in known]
    return {"": (GREY, rest), **found} if rest else found


def _add_words(
    figure: go.Figure,
    chosen: list[np.ndarray],
    titles: Sequence[str],
    width: float,
    height: float,
) -> None:
    """Frame numbers under the figures, titles to the left of the rows."""
    places = [(c, -r, frame) for r, row in enumerate(chosen) for c, frame in enumerate(row)]
    figure.add_scatter(
        x=[c * width for c, _, _ in places],
        y=[(r - 0.08) * height for _, r, _ in places],
        text=[str(frame) for _, _, frame in places],
        mode="text",
        textfont={"color": INK, "size": 10},
        hoverinfo="skip",
        showlegend=False,
    )
    for row, title in enumerate(titles):
        lines = [text(line) for line in textwrap.wrap(str(title), 16)]
        figure.add_annotation(
            x=-0.5 * width,
            y=(0.4 - row) * height,
            text=f"<b>{'<br>'.join(lines)}</b>",
            xanchor="right",
            align="right",
            showarrow=False,
            font={"size": 13},
        )


def clip_lengths(samples: pd.DataFrame, *, split: str, height: int = 300) -> go.Figure:
    """How long clips are: a histogram of frames, one colour a split.

    Args:
        samples: a store's table.
        split: its column, such as "split_xsub"; clips in no split are left out.
        height: pixels.

    Raises:
        UserError: the table has no such column.
    """
    if split not in samples:
        known = ", ".join(c for c in samples if str(c).startswith("split_"))
        raise UserError(f"No column '{split}' in the table of samples. Splits: {known or 'none'}.")
    figure = go.Figure()
    for name, colour in zip(("train", "val", "test"), COLOURS, strict=False):
        frames = samples.loc[samples[split] == name, "num_frames"]
        if len(frames):
            figure.add_histogram(
                x=frames.tolist(),
                name=name,
                marker={"color": colour, "line": {"width": 0}},
                hovertemplate=f"{name}: %{{y}} clips of %{{x}} frames<extra></extra>",
            )
    finish(figure, height=height)
    figure.update_layout(barmode="stack", bargap=0.05, showlegend=True)
    figure.update_layout(legend_traceorder="normal")
    figure.update_xaxes(title_text="frames", showgrid=False)
    return figure.update_yaxes(title_text="clips")
