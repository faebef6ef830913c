"""Pickles from others, read without executing anything.

Two gates: the opcodes are scanned before anything is loaded, and every global a pickle names is
looked up in a table of builders of our own, which check what they are given. Plain values (numbers,
text, lists, dictionaries) and NumPy arrays of numbers or text come out, nothing else.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from frcore.errors import UserError

_ATOM = re.compile(r"[biuf][1248]|f16|[SU]\d{1,6}")  # dtypes of numbers and text
_REFUSED_OPCODES = {
    *("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4"),  # objects that live outside the file
    *("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "NEXT_BUFFER", "READONLY_BUFFER"),
}
_MEMO_OPCODES = {"PUT", "BINPUT", "LONG_BINPUT"}


class _Refused(Exception):
    """Something the allow-list does not have."""


def read_pickle(path: Path) -> Any:
    """What a pickle holds: plain values and NumPy arrays of numbers or text.

    Raises:
        UserError: naming the file and, where a pickle wants more than data, what it wants.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    try:
        _scan(data)
        return _arrays(_Unpickler(io.BytesIO(data), encoding="latin1").load())
    except _Refused as error:
        raise UserError(
            f"{path} is refused: it is a pickle that wants {error}. Only numbers, text, lists, "
            "dictionaries and NumPy arrays are read, and nothing was executed. Save the scores as "
            ".npz or .csv instead."
        ) from error
    except Exception as error:  # whatever pickle raises over damaged or hostile bytes
        raise UserError(
            f"{path} is not a readable pickle: {error or type(error).__name__}."
        ) from error


def _scan(data: bytes) -> None:
    """Reads all opcodes without acting on them: lengths fit the file, memo numbers are small."""
    stores = 0
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _REFUSED_OPCODES:
            raise _Refused(f"the operation {opcode.name}")
        if opcode.name in _MEMO_OPCODES:
            stores += 1
            if int(argument) > 2 * stores + 1000:  # the loader allocates up to that number
                raise ValueError(f"memo number {argument} after {stores} stores")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        wanted = f"{module}.{name}"
        if wanted not in _BUILDERS:
            raise _Refused(f"'{wanted}'")
        return _BUILDERS[wanted]


class _Builder:
    """A function in the place of a global. Without attributes, so a pickle can set none."""

    __slots__ = ("_build",)

    def __init__(self, build: Callable[..., Any]) -> None:
        object.__setattr__(self, "_build", build)

    def __setattr__(self, name: str, value: object) -> None:
        raise _Refused(f"to set '{name}'")

    def __call__(self, *arguments: Any) -> Any:
        return self._build(*arguments)


class _DType:
    """A dtype of numbers or text on its way: the code comes first, the byte order as its state."""

    __slots__ = ("_dtype",)

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not _ATOM.fullmatch(code):
            raise _Refused(f"arrays of type {str(code)[:40]!r}")
        self._dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "=", "|"):
            raise ValueError(f"byte order {str(order)[:10]!r}")
        self._dtype = self._dtype.newbyteorder(order)

    def array(self, raw: Any, shape: Any, fortran: bool) -> np.ndarray:
        """The array of these bytes, if they are as many as the shape needs."""
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # as Python 2 wrote them
        if not isinstance(raw, bytes | bytearray):
            raise _Refused("arrays of objects")
        shape = (shape,) if type(shape) is int else tuple(shape)
        whole = all(type(size) is int and size >= 0 for size in shape) and len(shape) <= 8
        if not whole or math.prod(shape) * self._dtype.itemsize != len(raw):
            raise ValueError(f"{len(raw)} bytes do not make {self._dtype} {str(shape)[:80]}")
        return np.frombuffer(raw, self._dtype).reshape(shape, order="F" if fortran else "C")


class _Array:
    """An array on its way: made empty, filled by its state."""

    __slots__ = ("value",)

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, raw = state[-4:]  # a version number comes before, but for old files
        self.value = dtype.array(raw, shape, bool(fortran))


def _scalar(dtype: Any, raw: Any) -> Any:
    return dtype.array(raw, (), False).item()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return dtype.array(raw, shape, order == "F")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused(f"the encoding {str(encoding)[:40]!r}")
    return text.encode("latin1")


def _no_call(*_: Any) -> None:
    raise _Refused("to call numpy.ndarray")


_BUILDERS = {
    "numpy.dtype": _Builder(_DType),
    "numpy.ndarray": _Builder(_no_call),  # only an argument of _reconstruct
    "_codecs.encode": _Builder(_encode),
    "__builtin__.bytes": _Builder(lambda: b""),  # how empty bytes were written before
    "collections.OrderedDict": _Builder(lambda *items: dict(*items)),
    **{
        f"numpy.{core}.{name}": _Builder(build)
        for core in ("core", "_core")
        for name, build in {
            "multiarray._reconstruct": _Array,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _from_buffer,
        }.items()
    },
}


def _arrays(value: Any, done: dict[int, Any] | None = None, depth: int = 0) -> Any:
    """The same with NumPy arrays in the place of our own; refuses what still is a builder."""
    done = {} if done is None else done  # by identity: a list that occurs often is converted once
    if depth > 8:
        raise ValueError("nested too deeply")
    if isinstance(value, _Builder | _DType):
        raise ValueError("a type instead of data")
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without content")
        return value.value
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) not in done:
        if isinstance(value, dict):
            made = {key: _arrays(item, done, depth + 1) for key, item in value.items()}
        else:
            made = type(value)(_arrays(item, done, depth + 1) for item in value)
        done[id(value)] = made
    return done[id(value)]
