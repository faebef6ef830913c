"""Pickles from others, read without executing anything.

The opcodes are interpreted here, not by `pickle`: numbers, text, lists, tuples, dictionaries and
NumPy arrays of numbers or text come out. A global that a pickle names is looked up in a table of
builders of our own, which check what they are given; every other one is refused by its name.
"""

import math
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from frcore.errors import UserError

MAX_DEPTH = 8  # of lists, tuples and dictionaries within each other
_ATOM = re.compile(r"[biuf][1248]|f16|[SU]\d{1,6}")  # dtypes of numbers and text
_KEYS = (str, int, float, bytes, bool, type(None))  # what may be a key: hashed in no time

# Opcodes that push what stands behind them; ints, floats, text and bytes are decoded by pickletools
_PUSH = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_NEW: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


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
        return _plain(_Machine().run(data), {}, 0)
    except _Refused as error:
        raise UserError(
            f"{path} is refused: it is a pickle that wants {error}. Only numbers, text, lists, "
            "dictionaries and NumPy arrays are read, and nothing was executed. Save the scores as "
            ".npz or .csv instead."
        ) from error
    except Exception as error:  # whatever damaged or hostile bytes lead to
        raise UserError(
            f"{path} is not a readable pickle: {error or type(error).__name__}."
        ) from error


class _Machine:
    """The stack machine of pickle, without the operations that reach beyond data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # stacks below the marks
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """The value that is on the stack at STOP."""
        for opcode, argument, _ in pickletools.genops(data):
            self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _PUSH:
            stack.append(argument)
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[len(self.memo) if name == "MEMOIZE" else int(argument)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[int(argument)])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            if name == "STACK_GLOBAL":
                below, attribute = stack.pop(-2), stack.pop()
                argument = f"{_text(below)} {_text(attribute)}"
            stack.append(_builder(argument))
        elif name == "REDUCE":
            arguments, builder = stack.pop(), stack.pop()
            if not isinstance(builder, _Builder) or not isinstance(arguments, tuple):
                raise ValueError("a call of what is no function")
            stack.append(builder.build(*arguments))
        elif name == "BUILD":
            state, value = stack.pop(), stack[-1]
            if not isinstance(value, _Array | _DType):
                raise _Refused(f"to change the state of a {type(value).__name__.strip('_')}")
            value.set_state(state)
        elif name not in ("PROTO", "FRAME", "STOP"):
            self._collect(name)

    def _collect(self, name: str) -> None:
        """Operations on lists, tuples and dictionaries."""
        if name == "MARK":
            self.marked.append(self.stack)
            self.stack = []
        elif name in _TUPLES:
            count = _TUPLES[name]
            if len(self.stack) < count:
                raise ValueError("too little on the stack")
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif name == "APPEND":
            value = self.stack.pop()
            _as(self.stack[-1], list).append(value)
        elif name == "SETITEM":
            value, key = self.stack.pop(), self.stack.pop()
            _set(self.stack[-1], [key, value])
        elif name in ("TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS", "POP_MARK"):
            items, self.stack = self.stack, self.marked.pop()
            if name in ("TUPLE", "LIST"):
                self.stack.append(tuple(items) if name == "TUPLE" else items)
            elif name == "DICT":
                self.stack.append(_set({}, items))
            elif name == "APPENDS":
                _as(self.stack[-1], list).extend(items)
            elif name == "SETITEMS":
                _set(self.stack[-1], items)
        elif name == "POP":
            self.stack.pop()
        else:  # objects, extensions, persistent ids, buffers from outside, sets
            raise _Refused(f"the operation {name}")


def _as(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"a {kind.__name__} is expected")
    return value


def _text(value: Any) -> str:
    return _as(value, str)


def _set(target: Any, items: list[Any]) -> dict[Any, Any]:
    """Sets keys and values, which alternate."""
    keys = items[::2]
    if len(items) % 2 or not all(isinstance(key, _KEYS) for key in keys):
        raise _Refused("keys of a dictionary that are neither text nor numbers")
    _as(target, dict).update(zip(keys, items[1::2], strict=True))
    return target


class _Builder:
    """A function in the place of a global."""

    def __init__(self, build: Callable[..., Any]) -> None:
        self.build = build


class _DType:
    """A dtype of numbers or text on its way: the code comes first, the byte order as its state."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not _ATOM.fullmatch(code):
            shown = repr(code[:40]) if isinstance(code, str) else type(code).__name__
            raise _Refused(f"arrays of type {shown}")
        self._dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Takes the byte order from what NumPy wrote."""
        order = _as(state, tuple)[1]
        if order not in ("<", ">", "=", "|"):
            raise ValueError("an unknown byte order")
        self._dtype = self._dtype.newbyteorder(order)

    def array(self, raw: Any, shape: Any, fortran: bool) -> np.ndarray:
        """The array of these bytes, if they are as many as the shape needs."""
        raw = raw.encode("latin1") if isinstance(raw, str) else raw  # as Python 2 wrote them
        if not isinstance(raw, bytes | bytearray):
            raise _Refused("arrays of objects")
        shape = (shape,) if type(shape) is int else tuple(shape)
        whole = all(type(size) is int and size >= 0 for size in shape) and len(shape) <= 8
        if not whole or math.prod(shape) * self._dtype.itemsize != len(raw):
            raise ValueError(f"{len(raw)} bytes do not make an array of {self._dtype}")
        return np.frombuffer(raw, self._dtype).reshape(shape, order="F" if fortran else "C")


class _Array:
    """An array on its way: made empty, filled by its state."""

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        """Takes shape, type and bytes from what NumPy wrote; old files have no version number."""
        shape, dtype, fortran, raw = _as(state, tuple)[-4:]
        self.value = _as(dtype, _DType).array(raw, shape, bool(fortran))


def _scalar(dtype: Any, raw: Any) -> Any:
    return _as(dtype, _DType).array(raw, (), False).item()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return _as(dtype, _DType).array(raw, shape, order == "F")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise _Refused("another encoding than latin1")
    return _text(text).encode("latin1")


def _ordered(items: Any = ()) -> dict[Any, Any]:
    if not isinstance(items, list | tuple) or not all(len(pair) == 2 for pair in items):
        raise ValueError("a dictionary is made of pairs")
    return _set({}, [part for pair in items for part in pair])


def _no_call(*_: Any) -> None:
    raise _Refused("to call numpy.ndarray")


_BUILDERS = {
    "numpy.dtype": _DType,
    "numpy.ndarray": _no_call,  # only an argument of _reconstruct
    "_codecs.encode": _encode,
    "__builtin__.bytes": lambda: b"",  # how empty bytes were written before
    "collections.OrderedDict": _ordered,
    **{
        f"numpy.{core}.{name}": build
        for core in ("core", "_core")
        for name, build in {
            "multiarray._reconstruct": _Array,
            "multiarray.scalar": _scalar,
            "numeric._frombuffer": _from_buffer,
        }.items()
    },
}


def _builder(named: str) -> _Builder:
    name = named.replace(" ", ".", 1)
    if name not in _BUILDERS:
        raise _Refused(f"'{name[:80]}'")
    return _Builder(_BUILDERS[name])


def _plain(value: Any, done: dict[int, Any], depth: int) -> Any:
    """The same with arrays in the place of our own; by identity, so repeats are done once."""
    if depth > MAX_DEPTH:
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
            made: Any = {key: _plain(item, done, depth + 1) for key, item in value.items()}
        else:
            made = type(value)(_plain(item, done, depth + 1) for item in value)
        done[id(value)] = made
    return done[id(value)]
