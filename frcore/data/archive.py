"""Reads a zip or a folder of many small files in memory, within limits; nothing is extracted."""

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from frcore.errors import UserError

MB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; generous for skeleton files, small enough to be harmless."""

    members: int = 200_000
    member_bytes: int = 64 * MB
    total_bytes: int = 2048 * MB
    ratio: int = 100  # unpacked / packed; JSON and text of skeletons reach about 3 to 10


class Source:
    """The files of a zip or folder, by their path with "/"; sorted."""

    def __init__(
        self, origin: Path, files: dict[str, zipfile.ZipInfo | Path], limits: Limits
    ) -> None:
        self.origin, self.limits = origin, limits
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
        """What changes with a file's content: size and checksum, or size and time of change.

        Raises:
            UserError: naming a file that cannot be asked.
        """
        member = self._files[name]
        if not isinstance(member, Path):
            return f"{member.file_size} crc {member.CRC:08x}"
        try:
            status = member.stat()
        except OSError as error:
            raise UserError(f"Cannot read {name} in {self.origin}: {error}") from error
        return f"{status.st_size} at {status.st_mtime_ns}"

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            UserError: naming it, if it is damaged or too large.
        """
        member = self._files[name]
        try:
            with member.open("rb") if isinstance(member, Path) else self._zip.open(member) as file:
                content = file.read(self.limits.member_bytes + 1)
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise UserError(f"Cannot read {name} in {self.origin}: {error}") from error
        if len(content) > self.limits.member_bytes:
            raise UserError(
                f"{name} in {self.origin} is larger than {self.limits.member_bytes // MB} MB."
            )
        return content


@contextmanager
def open_source(path: Path, suffix: str, limits: Limits = Limits()) -> Iterator[Source]:
    """Opens a zip or folder for its files that end in `suffix`.

    An archive is refused as a whole, before anything is unpacked, if any member has a path that
    leaves its folder, is a link, occurs twice, is encrypted, or unpacks to more than the limits.

    Raises:
        UserError: naming the archive, the member and the reason.
    """
    if path.is_dir():
        files = {p.relative_to(path).as_posix(): p for p in path.rglob(f"*{suffix}") if p.is_file()}
        yield Source(path, {n: p for n, p in files.items() if _wanted(n, suffix)}, limits)
        return
    if not path.is_file():
        raise UserError(f"No such file or folder: {path}")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is not a readable zip archive: {error}") from error
    with archive:
        check_members(archive, path, limits)
        members = {i.filename: i for i in archive.infolist() if _wanted(i.filename, suffix)}
        source = Source(path, members, limits)
        source._zip = archive
        yield source


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
        raise UserError(f"{path} is refused: {len(members)} members, more than {limits.members}.")
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
    if member.file_size > limits.ratio * max(member.compress_size, 1024):
        return f"unpacks to more than {limits.ratio} times its size"
    return ""


def _wanted(name: str, suffix: str) -> bool:
    """Data files, not what macOS adds to archives."""
    parts = PurePosixPath(name).parts
    return name.endswith(suffix) and "__MACOSX" not in parts and not parts[-1].startswith("._")
