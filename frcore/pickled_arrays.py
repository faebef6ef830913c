"""What a pickle may build: bytes and text, arrays of numbers or text, dictionaries.

Builders stand in the place of the functions that a pickle names. Each checks what it is given.
"""

import math
import mmap
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_ATOM = re.compile(r"[biuf][1248]|f16|[SU]\d{1,6}")  # dtypes of numbers and text
_KEYS = (str, int, float, bytes, bool, type(None))  # what may be a key: hashed in no time


class Refused(Exception):
    """Something the allow-list does not have."""


def as_kind(value: Any, kind: type) -> Any:
    """The value, if it is exactly of this type."""
    if type(value) is not kind:
        raise ValueError(f"a {kind.__name__} is expected")
    return value


def set_items(target: Any, items: list[Any]) -> dict[Any, Any]:
    """Sets keys and values, which alternate."""
    keys = items[::2]
    if len(items) % 2 or not all(isinstance(key, _KEYS) for key in keys):
        raise Refused("keys of a dictionary that are neither text nor numbers")
    as_kind(target, dict).update(zip(keys, items[1::2], strict=True))
    return target


class StoredBytes:
    """Long bytes that are left in the pickle's file."""

    __slots__ = ("_data", "_place")

    def __init__(self, data: mmap.mmap, start: int, size: int) -> None:
        self._data, self._place = data, slice(start, start + size)

    def __len__(self) -> int:
        return self._place.stop - self._place.start

    def raw(self) -> Any:
        """The bytes, as a view of the file."""
        return memoryview(self._data)[self._place]


class StoredText(StoredBytes):
    """Long text that is left in the file: bytes, one a character, as old protocols write them."""

    __slots__ = ()

    def __len__(self) -> int:
        # In UTF-8 the bytes 0x80 to 0xBF go on with a character, all others begin one.
        return int(np.count_nonzero(np.frombuffer(super().raw(), np.int8) >= -64))

    def raw(self) -> bytes:
        """The bytes that the text stands for."""
        return str(super().raw(), "utf-8").encode("latin1")


class StoredArray:
    """An array that is still in the pickle's file: `numpy.asarray` reads it."""

    __slots__ = ("_axes", "_fortran", "_shape", "_stored", "dtype", "shape")

    def __init__(
        self, stored: StoredBytes, dtype: np.dtype, shape: tuple[int, ...], fortran: bool
    ) -> None:
        self._stored, self._shape, self._fortran = stored, shape, fortran
        self._axes: tuple[int, ...] | None = None
        self.dtype, self.shape = dtype, shape

    def transpose(self, axes: tuple[int, ...]) -> "StoredArray":
        """The same with its axes in this order."""
        if sorted(axes) != list(range(len(self.shape))):
            raise ValueError(f"axes {axes} of {len(self.shape)}")
        turned = StoredArray(self._stored, self.dtype, self._shape, self._fortran)
        turned._axes, turned.shape = axes, tuple(self.shape[axis] for axis in axes)
        return turned

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = _make_array(self._stored.raw(), self.dtype, self._shape, self._fortran)
        array = array if self._axes is None else array.transpose(self._axes)
        return array if dtype is None else array.astype(dtype)


def _make_array(raw: Any, dtype: np.dtype, shape: tuple[int, ...], fortran: bool) -> np.ndarray:
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


class Builder:
    """A function in the place of a global."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self.build = build


class PickledDType:
    """A dtype of numbers or text on its way: the code comes first, the byte order as its state."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not _ATOM.fullmatch(code):
            shown = repr(code[:40]) if isinstance(code, str) else type(code).__name__
            raise Refused(f"arrays of type {shown}")
        self._dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Takes the byte order from what NumPy wrote."""
        order = as_kind(state, tuple)[1]
        if order not in ("<", ">", "=", "|"):
            raise ValueError("an unknown byte order")
        self._dtype = self._dtype.newbyteorder(order)

    def array(self, raw: Any, shape: Any, fortran: bool) -> np.ndarray | StoredArray:
        """The array of these bytes, if they are as many as the shape needs."""
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # as Python 2 wrote them
        if not isinstance(raw, bytes | bytearray | StoredBytes):
            raise Refused("arrays of objects")
        shape = (shape,) if type(shape) is int else tuple(shape)
        whole = all(type(size) is int and size >= 0 for size in shape) and len(shape) <= 8
        if not whole or math.prod(shape) * self._dtype.itemsize != len(raw):
            raise ValueError(f"{len(raw)} bytes do not make an array of {self._dtype}")
        make = StoredArray if isinstance(raw, StoredBytes) else _make_array
        return make(raw, self._dtype, shape, fortran)


class PickledArray:
    """An array on its way: made empty, filled by its state."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray | StoredArray | None = None

    def set_state(self, state: Any) -> None:
        """Takes shape, type and bytes from what NumPy wrote; old files have no version number."""
        shape, dtype, fortran, raw = as_kind(state, tuple)[-4:]
        self.value = as_kind(dtype, PickledDType).array(raw, shape, bool(fortran))


def _scalar(dtype: Any, raw: Any) -> Any:
    return np.asarray(as_kind(dtype, PickledDType).array(raw, (), False)).item()


def _from_buffer(
    raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None
) -> np.ndarray | StoredArray:
    array = as_kind(dtype, PickledDType).array(raw, shape, order == "F")
    return array if axes is None else array.transpose(as_kind(axes, tuple))


def _encode(text: Any, encoding: Any = "latin1") -> bytes | StoredText:
    if encoding not in ("latin1", "latin-1"):
        raise Refused("another encoding than latin1")
    return text if isinstance(text, StoredText) else as_kind(text, str).encode("latin1")


def _ordered(items: Any = ()) -> dict[Any, Any]:
    if not isinstance(items, list | tuple) or not all(len(pair) == 2 for pair in items):
        raise ValueError("a dictionary is made of pairs")
    return set_items({}, [part for pair in items for part in pair])


def _no_call(*_: Any) -> None:
    raise Refused("to call numpy.ndarray")


_BUILDERS = {
    "numpy.dtype": PickledDType,
    "numpy.ndarray": _no_call,  # only an argument of _reconstruct
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",  # how empty bytes were written before
    "collections.OrderedDict": _ordered,
    **{
        f"numpy.{core}.{name}": build
        for core in ("core", "_core")
        for name, build in {
            "multiarray._reconstruct": PickledArray,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _from_buffer,
        }.items()
    },
}


def find_builder(named: str) -> Builder:
    """The builder in the place of the function that a pickle names."""
    name = named.replace(" ", ".", 1)
    if name not in _BUILDERS:
        raise Refused(f"'{name[:80]}'")
    return Builder(_BUILDERS[name])
