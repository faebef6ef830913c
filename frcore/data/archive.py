"""Reads a zip or a folder of many small files in memory, within limits; nothing is extracted."""

import hashlib
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from frcore.errors import UserError, counted

MB = 1024 * 1024
SMALL = MB  # what a member may unpack to however well it is packed: repetition is no attack
# What zipfile raises of a damaged archive.
_DAMAGED = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; generous for skeleton files, small enough to be harmless.

    The ratio of unpacked to packed is asked of members above 1 MB, and of the archive as a whole
    where it unpacks to more than one member may; JSON and text of skeletons reach about 3 to 10.
    """

    members: int = 200_000
    member_bytes: int = 64 * MB
    total_bytes: int = 2048 * MB
    ratio: int = 100


@dataclass
class Aside:
    """What a source holds besides, by path; nothing of it is read."""

    hidden: list[str] = field(default_factory=list)  # with the suffix, such as macOS's "._" files
    links: list[str] = field(default_factory=list)  # to folders: not followed, they may be rings
    others: Counter[str] = field(default_factory=Counter)  # how many, by suffix in lower case


class Source:
    """The files of a zip or folder, by their path with "/"; sorted."""

    def __init__(
        self,
        origin: Path,
        files: dict[str, zipfile.ZipInfo | Path],
        limits: Limits,
        aside: Aside | None = None,
    ) -> None:
        self.origin, self.limits, self.aside = origin, limits, aside or Aside()
        self._files = dict(sorted(files.items()))
        self._zip: zipfile.ZipFile | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def entry(self, name: str) -> zipfile.ZipInfo | Path:
        """A file's entry in the zip's table of contents; its place in a folder."""
        return self._files[name]

    def stamp(self, name: str) -> str:
        """What changes with the content of a folder's file: its size and time of change.

        Raises:
            UserError: naming a file that cannot be asked.
        """
        try:
            status = self._files[name].stat()
        except OSError as error:
            raise self._unreadable(name, error) from error
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"Cannot read {name} in {self.origin}: it is no plain file")
        return f"{status.st_size} at {status.st_mtime_ns}"

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            UserError: naming it, if it is damaged or too large.
        """
        member = self._files[name]
        if isinstance(member, Path) and member.exists() and not member.is_file():
            raise UserError(f"Cannot read {name} in {self.origin}: it is no plain file")
        try:
            with member.open("rb") if isinstance(member, Path) else self._zip.open(member) as file:
                content = file.read(self.limits.member_bytes + 1)
        except _DAMAGED as error:
            raise self._unreadable(name, error) from error
        if len(content) > self.limits.member_bytes:
            raise UserError(
                f"{name} in {self.origin} is larger than {self.limits.member_bytes // MB} MB."
            )
        return content

    def _unreadable(self, name: str, error: Exception) -> UserError:
        reason = getattr(error, "strerror", None) or str(error) or "it ends too early"
        reason = reason.replace(f" for file {name!r}", "")  # zipfile names it, too
        return UserError(f"Cannot read {name} in {self.origin}: {reason}")


@contextmanager
def open_source(
    path: Path,
    suffix: str | tuple[str, ...],
    limits: Limits = Limits(),
    *,
    foreign_ok: bool = False,
) -> Iterator[Source]:
    """Opens a zip or folder for its files that end in `suffix`, in capitals or not.

    An archive is refused as a whole, before anything is unpacked, if any member has a path that
    leaves its folder, is a link, occurs twice, is encrypted, or unpacks to more than the limits.

    Args:
        path: zip or folder; folders are searched to any depth.
        suffix: one or several, in lower case.
        limits: of a zip.
        foreign_ok: a zip without such files is a source of none, whatever else it holds.

    Raises:
        UserError: naming the archive, the member and the reason.
    """
    if path.is_dir():
        aside = Aside()
        files = _wanted(_walk(path, aside), suffix, aside)
        yield Source(path, {name: path / name for name in files}, limits, aside)
        return
    if not path.is_file():
        raise UserError(f"No such file or folder: {path}")
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise UserError(f"{path} is not a readable zip archive: {error}") from error
    with archive:
        aside = Aside()
        names = (name for name in archive.namelist() if not name.endswith("/"))
        wanted = {name: archive.getinfo(name) for name in _wanted(names, suffix, aside)}
        if wanted or not foreign_ok:
            check_members(archive, path, limits)
        source = Source(path, wanted, limits, aside)
        source._zip = archive
        yield source


def _walk(folder: Path, aside: Aside) -> Iterator[str]:
    """All files in a folder, to any depth."""

    def refuse(error: OSError) -> None:
        raise UserError(f"Cannot list {error.filename}: {error.strerror or error}.") from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        inside = Path(place).relative_to(folder)
        aside.links += [
            (inside / name).as_posix() for name in folders if (Path(place) / name).is_symlink()
        ]
        prefix = "" if inside == Path() else f"{inside.as_posix()}/"
        yield from (prefix + name for name in files)


def _wanted(names: Iterable[str], suffix: str | tuple[str, ...], aside: Aside) -> list[str]:
    """Data files, not what is hidden or what macOS adds to archives; the others are set aside."""
    found = []
    for name in names:
        if not name.lower().endswith(suffix):
            aside.others[PurePosixPath(name).suffix.lower() or "no suffix"] += 1
        elif _is_hidden(name):
            aside.hidden.append(name)
        else:
            found.append(name)
    aside.hidden.sort()
    return found


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return any(p == "__MACOSX" or (p.startswith(".") and p not in (".", "..")) for p in parts)


def content_digest(source: Source) -> str:
    """sha256 over lines `<file name> <sha256 of its bytes>`, sorted by name: of the files' content,
    however they are packed.

    Raises:
        UserError: naming a file that cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(source, key=lambda path: (PurePosixPath(path).name, path)):
        member = hashlib.sha256(source.read(path)).hexdigest()
        digest.update(f"{PurePosixPath(path).name} {member}\n".encode())
    return digest.hexdigest()


def check_members(archive: zipfile.ZipFile, path: Path, limits: Limits) -> None:
    """Refuses an archive by its table of contents (see `open_source`)."""
    members = archive.infolist()
    if len(members) > limits.members:
        raise UserError(
            f"{path} is refused: {counted(len(members), 'member')}, more than {limits.members:,}."
        )
    seen: set[str] = set()
    for member in members:
        reason = _refusal(member, limits)
        # Names that differ in case only are one file on many systems.
        key = member.orig_filename.rstrip("/").casefold()
        if not reason and key in seen:
            reason = "occurs twice"
        if reason:
            raise UserError(f"{path} is refused: member {member.orig_filename!r:.200} {reason}.")
        seen.add(key)
    total = sum(m.file_size for m in members)
    if total > limits.total_bytes:
        raise UserError(
            f"{path} is refused: it unpacks to {total // MB} MB, "
            f"more than {limits.total_bytes // MB} MB."
        )
    # Of the size on disk, which nothing in the archive can lie about.
    if total > max(limits.member_bytes, limits.ratio * path.stat().st_size):
        raise UserError(
            f"{path} is refused: it unpacks to {total // MB} MB, more than {limits.ratio} times "
            "its size."
        )


def _refusal(member: zipfile.ZipInfo, limits: Limits) -> str:
    name = member.orig_filename  # as written: ZipInfo.filename is already cleaned up
    parts = name.split("/")
    if not name or not name.isprintable() or "\\" in name or ":" in name:
        return "has a name that is no plain relative path"
    if name.startswith("/") or ".." in parts:
        return "has a path that leaves its folder"
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or no plain file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > limits.member_bytes:
        return f"unpacks to {member.file_size // MB} MB, more than {limits.member_bytes // MB} MB"
    if member.file_size > max(SMALL, limits.ratio * member.compress_size):
        return f"unpacks to more than {limits.ratio} times its size"
    return ""
