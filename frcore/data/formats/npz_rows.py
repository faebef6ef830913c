"""Arrays inside an npz, block by block: one that is larger than the memory is never in it."""

import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from frcore.data.archive import MB, Limits, check_members
from frcore.errors import UserError

# NTU RGB+D 120 as float64 is 41 GB. Deflate packs 1032 times at most: beyond that a size is a lie.
LIMITS = Limits(members=100, member_bytes=128 * 1024 * MB, total_bytes=256 * 1024 * MB, ratio=1100)
_HEADER_BYTES = 16_384  # NumPy's own limit is 10,000
_BLOCK_BYTES = MB
_ROW_BYTES = 64 * MB  # of which one is always in memory


class NpzArray:
    """An array of numbers inside an npz; its header is read and held against what is there.

    Attributes:
        where: file and name, for errors.
        shape: (N, ...).
        dtype: of numbers.
    """

    def __init__(self, archive: zipfile.ZipFile, path: Path, name: str) -> None:
        self.where = f"'{name}' in {path}"
        self._archive, self._member = archive, archive.getinfo(f"{name}.npy")
        with self._errors(), archive.open(self._member) as file:
            start = io.BytesIO(file.read(_HEADER_BYTES))
            self.shape, self.dtype = self._read_header(start)
            self._first = start.tell()  # byte of the first value
        expected = self._first + math.prod(self.shape) * self.dtype.itemsize
        if self._member.file_size != expected:
            raise UserError(
                f"{self.where} says that it is {self.dtype}{list(self.shape)}, which takes "
                f"{expected:,} bytes; there are {self._member.file_size:,}."
            )
        if self._row_bytes > _ROW_BYTES:
            raise UserError(
                f"{self.where} has rows of {self._row_bytes // MB} MB; at most {_ROW_BYTES // MB} "
                "are read."
            )

    def _read_header(self, file: io.BytesIO) -> tuple[tuple[int, ...], np.dtype]:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of the .npy format is not for plain numbers")
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = read(file)
        if dtype.kind not in "fiub":
            raise ValueError(
                f"type {dtype} instead of numbers" + (" (pickles)" if dtype.hasobject else "")
            )
        if fortran_order:
            raise ValueError(
                "stored column by column (Fortran order); save numpy.ascontiguousarray of it"
            )
        if not shape or not all(type(size) is int and size >= 1 for size in shape):
            raise ValueError(f"shape {shape}")
        return shape, dtype

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def blocks(self) -> Iterator[np.ndarray]:
        """(n, ...) rows in their order, about 1 MB at a time; read-only.

        Raises:
            UserError: the bytes are damaged or fewer than the header says.
        """
        rows = max(1, _BLOCK_BYTES // self._row_bytes)
        with self._errors(), self._archive.open(self._member) as file:
            file.read(self._first)
            for start in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                content = file.read(count * self._row_bytes)
                if len(content) != count * self._row_bytes:
                    raise EOFError(f"it ends in row {start + len(content) // self._row_bytes}")
                yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # zipfile and NumPy raise many kinds
            raise UserError(f"Cannot read {self.where}: {error}.") from error


@contextmanager
def open_npz(path: Path, names: Sequence[str]) -> Iterator[list[NpzArray]]:
    """The arrays of these names in an npz (packed or not).

    Raises:
        UserError: naming the file and what is wrong: no npz, an array that is not there, a table of
            contents that is refused (see `open_source`), headers that do not fit what is there.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path} is not a readable npz file: {reason}.") from error
    with archive:
        check_members(archive, path, LIMITS)
        there = {info.filename: info for info in archive.infolist()}
        missing = [name for name in names if f"{name}.npy" not in there]
        if missing:
            held = ", ".join(name.removesuffix(".npy")[:40] for name in list(there)[:10])
            raise UserError(
                f"{path} holds no {', '.join(missing)}; it holds {held or 'nothing'}. Expected: "
                f"{', '.join(names)}."
            )
        for name in names:
            member = there[f"{name}.npy"]
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise UserError(f"{path}: {name} is packed in a way that NumPy does not use.")
        yield [NpzArray(archive, path, name) for name in names]
