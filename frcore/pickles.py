"""Pickles from others, read without executing anything.

The opcodes are interpreted here, not by `pickle`: numbers, text, lists, tuples, dictionaries and
NumPy arrays of numbers or text come out. A global that a pickle names is looked up in a table of
builders of our own, which check what they are given; every other one is refused by its name.
"""

import io
import mmap
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from frcore.errors import UserError
from frcore.pickled_arrays import (
    Builder,
    PickledArray,
    PickledDType,
    Refused,
    StoredBytes,
    StoredText,
    as_kind,
    find_builder,
    set_items,
)

MAX_DEPTH = 8  # of lists, tuples and dictionaries within each other
MAX_STEPS = 50_000_000  # of a byte each, they could fill the memory; NTU RGB+D 120 takes 5 million
_STEPS_A_LOOK = 50_000  # at the clock, for the progress bar: a tenth of a second
LARGE = 1024  # bytes or text above this are left in the file, if reading is lazy

# Opcodes that push what stands behind them; ints, floats, text and bytes are decoded by pickletools
_PUSH = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_LONG = {  # of these, those that can be long, by what reads their length
    **dict.fromkeys(("BINUNICODE", "BINBYTES"), pickletools.read_uint4),
    **dict.fromkeys(("BINUNICODE8", "BINBYTES8", "BYTEARRAY8"), pickletools.read_uint8),
}
_OPCODES = {
    opcode.code.encode("latin-1"): (opcode.name, opcode.arg.reader if opcode.arg else None)
    for opcode in pickletools.opcodes
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


def read_pickle(path: Path, *, lazy: bool = False) -> Any:
    """What a pickle holds: plain values and NumPy arrays of numbers or text.

    Args:
        path: the file.
        lazy: arrays above some size come as `StoredArray` and stay in the file until
            `numpy.asarray` reads them, so that a file of gigabytes takes little memory (long text
            comes as `StoredText`). The file must not change meanwhile.

    Raises:
        UserError: naming the file and, where a pickle wants more than data, what it wants.
    """
    try:
        file = _map(path) if lazy else io.BytesIO(path.read_bytes())
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    try:
        return _plain(_Machine().run(file, path.name), {}, 0)
    except Refused as error:
        raise UserError(
            f"{path} is refused: it is a pickle that wants {error}. Only numbers, text, lists, "
            "dictionaries and NumPy arrays are read, and nothing was executed. Save what it "
            "holds as .npz, or scores as .csv, instead."
        ) from error
    except Exception as error:  # whatever damaged or hostile bytes lead to
        raise UserError(
            f"{path} is not a readable pickle: {error or type(error).__name__}."
        ) from error


def _map(path: Path) -> mmap.mmap | io.BytesIO:
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return io.BytesIO()  # an empty file cannot be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class _Machine:
    """The stack machine of pickle, without the operations that reach beyond data."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # stacks below the marks
        self.memo: dict[int, Any] = {}

    def run(self, file: mmap.mmap | io.BytesIO, name: str) -> Any:
        """The value that is on the stack at STOP; a bar of this name if it takes long."""
        mapped = isinstance(file, mmap.mmap)
        file.seek(0, io.SEEK_END)
        size = file.tell()
        file.seek(0)
        with tqdm(total=size, desc=name, unit="B", unit_scale=True, delay=1) as bar:
            return self._run(file, mapped, bar)

    def _run(self, file: mmap.mmap | io.BytesIO, mapped: bool, bar: tqdm) -> Any:
        for step in range(MAX_STEPS):
            if step % _STEPS_A_LOOK == 0:
                bar.update(file.tell() - bar.n)
            code = file.read(1)
            if code not in _OPCODES:
                raise ValueError(f"unknown operation {code!r}" if code else "it ends before STOP")
            name, reader = _OPCODES[code]
            if name == "STOP":
                bar.update(file.tell() - bar.n)
                return self.stack.pop()
            if mapped and name in _LONG:
                self._step(name, _in_place(file, name))
            else:
                self._step(name, reader(file) if reader else None)
        raise ValueError(f"more than {MAX_STEPS:,} operations")

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
            stack.append(find_builder(argument))
        elif name == "REDUCE":
            arguments, builder = stack.pop(), stack.pop()
            if not isinstance(builder, Builder) or not isinstance(arguments, tuple):
                raise ValueError("a call of what is no function")
            stack.append(builder.build(*arguments))
        elif name == "BUILD":
            state, value = stack.pop(), stack[-1]
            if not isinstance(value, PickledArray | PickledDType):
                raise Refused(f"to change the state of a {type(value).__name__.strip('_')}")
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
            as_kind(self.stack[-1], list).append(value)
        elif name == "SETITEM":
            value, key = self.stack.pop(), self.stack.pop()
            set_items(self.stack[-1], [key, value])
        elif name in ("TUPLE", "LIST", "DICT", "APPENDS", "SETITEMS", "POP_MARK"):
            items, self.stack = self.stack, self.marked.pop()
            if name in ("TUPLE", "LIST"):
                self.stack.append(tuple(items) if name == "TUPLE" else items)
            elif name == "DICT":
                self.stack.append(set_items({}, items))
            elif name == "APPENDS":
                as_kind(self.stack[-1], list).extend(items)
            elif name == "SETITEMS":
                set_items(self.stack[-1], items)
        elif name == "POP":
            self.stack.pop()
        else:  # objects, extensions, persistent ids, buffers from outside, sets
            raise Refused(f"the operation {name}")


def _in_place(file: mmap.mmap, name: str) -> Any:
    """The argument of an operation of `_LONG`: itself if it is short, else where it is."""
    size, start = _LONG[name](file), file.tell()
    if size > len(file) - start:
        raise ValueError(f"{size} bytes are announced, {len(file) - start} are there")
    text = name.startswith("BINUNICODE")
    if size > LARGE:
        file.seek(start + size)
        return (StoredText if text else StoredBytes)(file, start, size)
    raw = file.read(size)
    return str(raw, "utf-8", "surrogatepass") if text else raw


def _text(value: Any) -> str:
    return as_kind(value, str)


def _plain(value: Any, done: dict[int, Any], depth: int) -> Any:
    """The same with arrays in the place of our own; by identity, so repeats are done once."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, Builder | PickledDType):
        raise ValueError("a type instead of data")
    if isinstance(value, PickledArray):
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
