"""The bytes between Python and the page: a JSON header, then arrays; clips as 16-bit numbers.

One format for both hosts: a notebook sends it as it is, a page carries it as base64. Layout:
`b"FRX1"`, the header's length (uint32), the header (UTF-8, padded with spaces), the arrays; all
little-endian, every array at a multiple of 8, so that a browser can view them without a copy.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from frcore.skeleton import Skeleton

MAGIC = b"FRX1"
ABSENT = -32768  # a coordinate that is not known
_STEPS = 32767  # steps from a clip's middle to its edge
_DTYPES = ("u1", "u2", "u4", "i2", "f4")


def pack(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """Header and arrays as one payload; `header["arrays"]` is added here.

    Args:
        header: JSON-ready values, no NaN.
        arrays: uint8, uint16, uint32, int16 or float32, of any shape.

    Raises:
        TypeError: an array of another type.
        ValueError: the header holds a NaN or an infinite number.
    """
    table, chunks, offset = {}, [], 0
    for name, array in arrays.items():
        code = array.dtype.kind + str(array.dtype.itemsize)
        if code not in _DTYPES:
            raise TypeError(f"Array '{name}' is {array.dtype}; a payload holds {_DTYPES}.")
        chunk = np.ascontiguousarray(array, dtype=f"<{code}").tobytes()
        table[name] = {"dtype": code, "shape": list(array.shape), "offset": offset}
        chunks += [chunk, bytes(-len(chunk) % 8)]
        offset += len(chunk) + len(chunks[-1])
    words = json.dumps(
        {**header, "arrays": table}, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode("utf-8", "replace")  # a lone surrogate in a name must not cost the page
    words += b" " * (-(len(MAGIC) + 4 + len(words)) % 8)
    return b"".join([MAGIC, struct.pack("<I", len(words)), words, *chunks])


def unpack(payload: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """`pack` undone: the header (with its "arrays") and read-only arrays by name.

    Raises:
        ValueError: these are not a payload's bytes.
    """
    if payload[:4] != MAGIC:
        raise ValueError(f"Not a payload: it begins with {payload[:4]!r}, not {MAGIC!r}.")
    start = 8 + struct.unpack_from("<I", payload, 4)[0]
    header = json.loads(payload[8:start])
    arrays = {}
    for name, entry in header["arrays"].items():
        size = int(np.prod(entry["shape"], dtype=np.int64))
        flat = np.frombuffer(payload, f"<{entry['dtype']}", size, start + entry["offset"])
        arrays[name] = flat.reshape(entry["shape"])
    return header, arrays


def encode_skeleton(skeleton: Skeleton) -> dict[str, Any]:
    """A body for a header; its "bones" are all lines that are drawn (`Skeleton.lines`)."""
    return {**skeleton.to_dict(), "bones": [list(pair) for pair in skeleton.lines]}


def encode_clip(
    clip: np.ndarray, *, id: str, title: str, joints: str = "joints_0", y_down: bool = False
) -> tuple[dict[str, Any], np.ndarray]:
    """A clip's header and its joints as int16: coordinate = origin + value * scale.

    One scale for all axes, so that the largest error is 1/131,000 of the clip's longest side. What
    is not known (a person all zero or all NaN in a frame; a single NaN) is -32768. Persons after
    the last one that is ever there are left out.

    Args:
        clip: (T, V, C) or (T, M, V, C), C = 2 or 3, in any unit.
        id: the sample's.
        title: what stands over it.
        joints: the array's name in the payload.
        y_down: for pixels, whose y grows downwards: y is turned.
    """
    clip = np.array(clip, dtype=np.float64)
    clip = clip[:, None] if clip.ndim == 3 else clip
    unknown = ~np.isfinite(clip)
    clip[unknown] = 0
    unknown |= (clip == 0).all(axis=(2, 3), keepdims=True)
    there = np.flatnonzero(~unknown.all(axis=(0, 2, 3)))
    persons = int(there[-1]) + 1 if len(there) else 1
    clip, unknown = clip[:, :persons], unknown[:, :persons]
    if y_down:
        clip[..., 1] *= -1
    origin, scale = _grid(clip, unknown)
    values = np.clip(np.rint((clip - origin) / scale), -_STEPS, _STEPS)
    values[unknown] = ABSENT
    frames, _, _, channels = clip.shape
    header = {
        "id": str(id),
        "title": str(title),
        "frames": frames,
        "persons": persons,
        "channels": channels,
        "scale": scale,
        "origin": origin.tolist(),
        "joints": joints,
    }
    return header, values.astype(np.int16)


def decode_clip(header: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    """(T, M, V, C) float64 of an encoded clip; NaN where it is not known."""
    clip = np.asarray(header["origin"]) + values * float(header["scale"])
    clip[values == ABSENT] = np.nan
    return clip


def _grid(clip: np.ndarray, unknown: np.ndarray) -> tuple[np.ndarray, float]:
    """The middle (C,) of all known coordinates, and the size of a step."""
    axes = (0, 1, 2)
    low = np.where(unknown, np.inf, clip).min(axis=axes)
    high = np.where(unknown, -np.inf, clip).max(axis=axes)
    known = low <= high
    middle = np.where(known, np.where(known, low, 0) / 2 + np.where(known, high, 0) / 2, 0)
    reach = np.where(known, np.where(known, high, 0) - middle, 0)
    return middle, float(reach.max() / _STEPS) or 1.0
