"""Reads raw files where they are, in folders and zips; what a process needs to know of a file.

A process that opens a zip of 114,000 files as usual holds its table of contents: 80 MB in each.
Here one process reads the table, and the others go by the places that it found there.
"""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

from frcore.data.archive import MB, Limits, Source
from frcore.errors import UserError

# A raw file is some 0.4 MB, the largest some 5 MB; the zip of the second half of NTU RGB+D 120
# unpacks to tens of GB. Files are read one at a time, so the sum costs no memory.
LIMITS = Limits(members=400_000, member_bytes=32 * MB, total_bytes=1024 * 1024 * MB)
# What stands before each file in a zip (APPNOTE.TXT 4.3.7): signature, version, flags, method,
# time, checksum and sizes, lengths of the name and of what follows it.
_HEADER = struct.Struct("<4s2xHH16xHH")
_ENCRYPTED = 0x1  # a flag


class Member(NamedTuple):
    """What of a zip's table of contents it takes to read a file."""

    offset: int  # of its header in the zip
    packed: int  # bytes that it takes there
    size: int  # bytes
    crc: int  # CRC-32
    method: int  # how it is packed


_MEMBER = struct.Struct("<qqQIH")


class RawFile(NamedTuple):
    """One file to convert, made by `locate`."""

    name: str  # of the sample: SsssCcccPpppRrrrAaaa
    source: int  # position among the sources
    path: str  # inside the source
    stamp: bytes  # changes with the content: in a zip a packed `Member`, else size and time

    @property
    def member(self) -> Member:
        """Of a file in a zip."""
        return Member(*_MEMBER.unpack(self.stamp))


def locate(name: str, number: int, path: str, source: Source) -> RawFile:
    """The file of a sample at a path in the source of a number.

    There are 114,000: parts of the zip's table (numbers, paths) are copied, as each one that is
    kept would hold on to the memory around it, 60 MB in all.

    Raises:
        UserError: naming a file that cannot be asked.
    """
    folder, slash, file = path.rpartition("/")
    entry = source.entry(path)
    if isinstance(entry, Path):
        return RawFile(name, number, path, source.stamp(path).encode())
    member = Member(
        offset=entry.header_offset,
        packed=entry.compress_size,
        size=entry.file_size,
        crc=entry.CRC,
        method=entry.compress_type,
    )
    try:
        return RawFile(name, number, f"{folder}{slash}{file}", _MEMBER.pack(*member))
    except struct.error as error:
        raise UserError(f"Cannot read {path} in {source.origin}: {error}.") from error


class Contents:
    """Reads raw files; each process has its own."""

    def __init__(self, sources: Sequence[Path]) -> None:
        self.sources = tuple(sources)
        self._open: dict[int, BinaryIO] = {}
        self._stack = ExitStack()

    def read(self, file: RawFile) -> bytes:
        """A file's bytes; of a zip those that were there when it was listed.

        Raises:
            UserError: naming it, if it is damaged, too large, changed or gone.
        """
        origin = self.sources[file.source]
        if origin.is_dir():  # without listing it again
            return Source(origin, {file.path: origin / file.path}, LIMITS).read(file.path)
        try:
            if file.source not in self._open:
                self._open[file.source] = self._stack.enter_context(origin.open("rb"))
            return _unpack(self._open[file.source], file)
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"Cannot read {file.path} in {origin}: {error}") from error

    def __enter__(self) -> "Contents":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _unpack(archive: BinaryIO, file: RawFile) -> bytes:
    """A file of a zip by its place.

    Raises:
        BadZipFile: what is there is not what was listed, or is refused.
    """
    member = file.member
    archive.seek(member.offset)
    header = archive.read(_HEADER.size).ljust(_HEADER.size, b"\0")
    signature, flags, method, name_length, extra_length = _HEADER.unpack(header)
    same = archive.read(name_length).endswith(file.path.rpartition("/")[2].encode())
    if (signature, method, same) != (b"PK\3\4", member.method, True):
        raise zipfile.BadZipFile("the zip is damaged or was changed: the file is not at its place")
    if flags & _ENCRYPTED:
        raise zipfile.BadZipFile("it is encrypted")
    if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"it is packed by method {method}; expected 8 (deflate) or 0")
    if max(member.size, member.packed) > LIMITS.member_bytes:  # so far it is what the zip says
        raise zipfile.BadZipFile(f"it is larger than {LIMITS.member_bytes // MB} MB")
    archive.seek(extra_length, 1)
    content = archive.read(member.packed)
    if method == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.size + 1)
    if len(content) != member.size or zlib.crc32(content) != member.crc:
        raise zipfile.BadZipFile("its content is damaged (size or CRC-32)")
    return content
