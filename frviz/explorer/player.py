"""Skeletons that play, alone: one clip or several side by side, in a notebook or in a file."""

import logging
from collections.abc import Sequence
from pathlib import Path

import anywidget
import numpy as np
import traitlets

from frcore.display import plain
from frcore.errors import UserError
from frcore.skeleton import Skeleton, get_skeleton
from frviz.explorer.payload_format import encode_clip, encode_skeleton, pack
from frviz.figures.clips import check_clips

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"


class Player(anywidget.AnyWidget):
    """Clips with one clock and one camera. Made by `play`.

    Attributes:
        payload: what the page draws (`frviz.explorer.payload_format`, kind "player").
    """

    _esm = STATIC / "explorer.js"
    _css = STATIC / "explorer.css"

    payload = traitlets.Bytes().tag(sync=True)

    def __init__(self, payload: bytes, words: str) -> None:
        super().__init__(payload=payload)
        self._words = words

    def to_html(self, path: str | Path) -> Path:
        """Writes the player as one HTML file that needs neither network nor kernel.

        Args:
            path: of the file.

        Returns:
            Its path.

        Raises:
            UserError: the file cannot be written.
        """
        from frviz.explorer.export import write_html  # which knows the explorer's models, and torch

        return write_html(Path(path), self.payload, {}, title=self._words)

    def __repr__(self) -> str:
        return f"Player({self._words})"


def play(
    clip_or_clips: np.ndarray | Sequence[np.ndarray],
    *,
    skeleton: Skeleton | str | None = None,
    titles: Sequence[str] | None = None,
    fps: float = 30,
    y_down: bool = False,
) -> Player:
    """A player of one clip, or of several side by side: orbit, scrub, speed, trails, keyboard.

    All have one clock, one camera and one scale. Left is blue, right is orange; a second person is
    paler. A person whose coordinates are all zero (or NaN) in a frame is absent from it.

    Args:
        clip_or_clips: one clip or several, each (T, V, C) or (T, M, V, C), in any unit, y up. C = 3
            are a camera's coordinates (x to its left, z away from it), C = 2 is drawn flat.
        skeleton: the body, or the name of a known one; needed.
        titles: one a clip.
        fps: frames a second of the clips.
        y_down: for pixels, whose y grows downwards.

    Returns:
        A widget. `.to_html(path)` writes it as a file of its own.

    Raises:
        UserError: no skeleton, a clip of another shape, clips in which nobody is (a warning where
            others show somebody), not as many titles as clips, or an `fps` that is no positive
            number.

    Example:
        >>> store = frcore.data.open_store("synthetic")
        >>> frviz.play(store.clip("a01_p01_r01"), skeleton="ntu25")
    """
    if skeleton is None:
        raise UserError("play needs a skeleton: skeleton='ntu25', or a Skeleton of your own.")
    body = get_skeleton(skeleton)
    clips, titles = check_clips(clip_or_clips, body, titles)
    if not isinstance(fps, int | float | np.number) or not 0 < fps < 1000:
        raise UserError(f"fps is {fps!r}; expected frames a second, such as 30.")
    titles = [str(title) for title in titles] or [""] * len(clips)
    _check_for_bodies(clips, titles)
    headers, arrays = [], {}
    for number, (clip, title) in enumerate(zip(clips, titles, strict=True)):
        name = f"joints_{number}"
        header, arrays[name] = encode_clip(clip, id=title, title=title, joints=name, y_down=y_down)
        headers.append(header)
    payload = pack(
        {
            "kind": "player",
            "version": 1,
            "skeleton": encode_skeleton(body),
            "titles": titles,
            "clips": headers,
            "fps": float(fps),
        },
        arrays,
    )
    frames = ", ".join(str(len(clip)) for clip in clips[:4]) + (", ..." if len(clips) > 4 else "")
    count = "1 clip" if len(clips) == 1 else f"{len(clips)} clips"
    return Player(payload, f"{count} of {frames} frames, {body.name}")


def _check_for_bodies(clips: Sequence[np.ndarray], titles: Sequence[str]) -> None:
    """Names the clips in which nobody is: their part of the player stays empty."""
    empty = [
        f"clip {number}" + (f" ('{plain(title)}')" if title else "")
        for number, (clip, title) in enumerate(zip(clips, titles, strict=True), start=1)
        if not (np.isfinite(clip) & (clip != 0)).any()
    ]
    said = f"Nobody is in {', '.join(empty)}: all coordinates are 0, NaN or infinite."
    if len(empty) == len(clips):
        raise UserError(said)
    if empty:
        log.warning(said)
