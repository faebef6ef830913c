"""Which raw files there are: folders and zips, names, the list of those to leave out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from frcore.data.archive import MB, Source, open_source
from frcore.data.clips import SHOWN
from frcore.data.ntu.contents import LIMITS, RawFile, locate
from frcore.data.ntu.protocols import parse_name
from frcore.errors import UserError

SUFFIX = ".skeleton"
_MAX_LIST_BYTES = 16 * MB


@dataclass
class LeftOut:
    """A file that becomes no clip."""

    file: str  # its name if it is a sample's, else its path
    reason: str
    detail: str = ""


@dataclass
class Listing:
    """All files of the sources."""

    sources: tuple[Path, ...]
    files: list[RawFile] = field(default_factory=list)  # to be converted, by name
    left_out: list[LeftOut] = field(default_factory=list)
    refused: list[LeftOut] = field(default_factory=list)  # no name of the set, or a second time


@dataclass(frozen=True)
class ExcludeList:
    """Samples to leave out, from a text file."""

    path: Path
    names: frozenset[str] = frozenset()
    unknown: tuple[str, ...] = ()  # "line 7: ..." where a line is no name


def read_exclude(path: str | Path) -> ExcludeList:
    """Reads a list of samples, one a line, with or without `.skeleton`.

    Lines before the first name are its head, lines that begin with "#" are comments; what else is
    no name is kept in `unknown`.

    Raises:
        UserError: it cannot be read, or holds no name.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_LIST_BYTES + 1)
    except OSError as error:
        raise UserError(f"Cannot read the list {path}: {error.strerror or error}.") from error
    if len(content) > _MAX_LIST_BYTES:
        raise UserError(f"The list {path} is larger than {_MAX_LIST_BYTES // MB} MB.")
    names: set[str] = set()
    unknown: list[str] = []
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            name = text.removesuffix(SUFFIX)
            parse_name(name)
            names.add(name)
        except UserError:
            if names:
                unknown.append(f"line {number}: {ascii(text)[1:-1][:80]}")
    if not names:
        raise UserError(
            f"{path} holds no name of a sample; expected one a line, such as S001C002P005R002A008."
        )
    return ExcludeList(path, frozenset(names), tuple(unknown))


def list_files(
    sources: Sequence[Path], benchmark: str, exclude: Iterable[str] = frozenset()
) -> Listing:
    """Every raw file of folders and zips, sorted by name; nothing is unpacked.

    Args:
        sources: folders and zips; of a name that occurs twice the first counts.
        benchmark: "ntu60" or "ntu120"; files of the other one alone are left out.
        exclude: names of samples to leave out.

    Raises:
        UserError: a source cannot be read, is refused (see `open_source`), or holds no raw files.
    """
    listing = Listing(tuple(sources))
    exclude = frozenset(exclude)
    seen: dict[str, str] = {}
    for number, origin in enumerate(sources):
        with open_source(origin, SUFFIX, LIMITS) as source:
            if len(source) == 0:
                raise UserError(
                    f"{origin} holds no {SUFFIX} files, such as S001C001P001R001A001{SUFFIX}."
                )
            for path in source:
                _add(listing, benchmark, exclude, seen, (number, source, path))
    listing.files.sort()
    for found in (listing.left_out, listing.refused):
        found.sort(key=lambda item: (item.file, item.reason, item.detail))
    return listing


def _add(
    listing: Listing,
    benchmark: str,
    exclude: frozenset[str],
    seen: dict[str, str],
    where: tuple[int, Source, str],
) -> None:
    number, source, path = where
    name, place = PurePosixPath(path).name.removesuffix(SUFFIX), f"{path} in {source.origin}"
    try:
        parsed = parse_name(name)
    except UserError as error:
        listing.refused.append(LeftOut(path, "bad name", f"{place}: {error}"))
        return
    if name in seen:
        twice = f"the same name twice: {seen[name]} and {place}"
        listing.refused.append(LeftOut(path, "second of its name", twice))
        return
    seen[name] = place
    if not parsed.belongs_to(benchmark):
        listing.left_out.append(LeftOut(name, f"not of {benchmark}"))
    elif name in exclude:
        listing.left_out.append(LeftOut(name, "excluded"))
    else:
        listing.files.append(locate(name, number, path, source))


def first_of(texts: Sequence[str]) -> str:
    """The first ten, and how many more."""
    more = f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def paths_of(source: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """One or several sources as paths; a folder without `.skeleton` files stands for its zips.

    Raises:
        UserError: none is given, or one twice.
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    paths = tuple(path for item in given for path in _zips_or_itself(Path(item)))
    if not paths:
        raise UserError("No source was given: expected a folder or zip of .skeleton files.")
    twice = sorted({str(p) for p in paths if sum(p.resolve() == q.resolve() for q in paths) > 1})
    if twice:
        raise UserError(f"The same source is given more than once: {', '.join(twice)}.")
    return paths


def _zips_or_itself(path: Path) -> list[Path]:
    if not path.is_dir() or next(path.rglob("*.skeleton"), None) is not None:
        return [path]
    return sorted(path.glob("*.zip")) or [path]
