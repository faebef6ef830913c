"""Which raw files there are: folders and zips, names, the list of those to leave out."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from frcore.data.archive import MB, Source, open_source
from frcore.data.clips import SHOWN
from frcore.data.ntu.contents import LIMITS, RawFile, locate
from frcore.data.ntu.protocols import parse_name
from frcore.errors import UserError, counted

SUFFIX, ZIP = ".skeleton", ".zip"  # in capitals or not
BAD_NAME, SECOND, BAD = "bad name", "second of its name", "bad file"
_MAX_LIST_BYTES = 16 * MB
_LIKE = f"such as S001C001P001R001A001{SUFFIX}"


@dataclass
class LeftOut:
    """A file that becomes no clip."""

    file: str  # its name if it is a sample's, else its path
    reason: str
    detail: str = ""


@dataclass
class Listing:
    """All raw files of the sources."""

    sources: list[Path] = field(default_factory=list)  # as given, and the zips in folders
    files: list[RawFile] = field(default_factory=list)  # to be converted, by name
    left_out: list[LeftOut] = field(default_factory=list)
    refused: list[LeftOut] = field(default_factory=list)  # no name of the set, a second time, ...
    absent: list[str] = field(default_factory=list)  # samples to exclude that are nowhere
    notices: list[str] = field(default_factory=list)  # what lies beside the raw files


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
            name = _sample(text)
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
        sources: folders, searched to any depth for raw files and for zips that hold some, and zips;
            of a name that occurs twice the first counts.
        benchmark: "ntu60" or "ntu120"; files of the other one alone are left out.
        exclude: names of samples to leave out.

    Raises:
        UserError: a source cannot be read, is refused (see `open_source`), holds no raw files, or
            comes twice.
    """
    lister = _Lister(benchmark, frozenset(exclude))
    for origin in sources:
        lister.add(origin)
    return lister.finish()


class _Lister:
    """Goes through the sources, one after the other."""

    def __init__(self, benchmark: str, exclude: frozenset[str]) -> None:
        self.benchmark, self.exclude = benchmark, exclude
        self.listing = Listing()
        self._seen: dict[str, str] = {}  # sample -> where it was first
        self._resolved: set[Path] = set()  # all sources

    def add(self, origin: Path) -> None:
        """Lists a source that was given."""
        if origin.is_file() and origin.name.lower().endswith(SUFFIX):
            raise UserError(f"{origin} is one raw file; give its folder: {origin.parent}.")
        if not origin.is_dir():
            if not self._add_zip(origin):
                raise UserError(f"{origin} holds no {SUFFIX} files, {_LIKE}.")
            return
        number = self._open(origin)
        with open_source(origin, (SUFFIX, ZIP), LIMITS) as folder:
            zips = [path for path in folder if path.lower().endswith(ZIP)]
            names = [path for path in folder if not path.lower().endswith(ZIP)]
            for path in names:
                self._add_file(number, folder, path)
            self._note(folder)
        found = len(names)
        for path in zips:
            if count := self._add_zip(origin / path):
                found += count
            else:
                self.listing.notices.append(
                    f"{origin / path} holds no {SUFFIX} files and is left aside."
                )
        if not found:
            more = f"; its {counted(len(zips), 'zip')} holds none" if zips else ""
            raise UserError(f"{origin} holds no {SUFFIX} files, {_LIKE}{more}.")

    def _open(self, origin: Path) -> int:
        """The position that a source gets."""
        if origin.resolve() in self._resolved:
            raise UserError(f"The same source is given more than once: {origin}.")
        self._resolved.add(origin.resolve())
        self.listing.sources.append(origin)
        return len(self.listing.sources) - 1

    def _add_zip(self, origin: Path) -> int:
        """Lists a zip; how many raw files it holds."""
        number = self._open(origin)
        with ExitStack() as stack:
            try:
                source = stack.enter_context(open_source(origin, SUFFIX, LIMITS, foreign_ok=True))
            except UserError as error:
                if not origin.is_file():
                    raise
                raise UserError(
                    f"{str(error).rstrip('.')}. An archive is taken whole or not at all, with "
                    "--skip-bad, too: get it again, or move it elsewhere."
                ) from error
            for path in source:
                self._add_file(number, source, path)
            if len(source) or source.aside.hidden:
                self._note(source)
            return len(source)

    def _add_file(self, number: int, source: Source, path: str) -> None:
        listing, place = self.listing, f"{path} in {source.origin}"
        name = _sample(PurePosixPath(path).name)
        try:
            parsed = parse_name(name)
        except UserError as error:
            listing.refused.append(LeftOut(path, BAD_NAME, f"{place}: {error}"))
            return
        if name in self._seen:
            twice = f"the same name twice: {self._seen[name]} and {place}"
            listing.refused.append(LeftOut(path, SECOND, twice))
            return
        self._seen[name] = place
        if not parsed.belongs_to(self.benchmark):
            listing.left_out.append(LeftOut(name, f"not of {self.benchmark}"))
        elif name in self.exclude:
            listing.left_out.append(LeftOut(name, "excluded"))
        else:
            try:
                listing.files.append(locate(name, number, path, source))
            except UserError as error:
                listing.refused.append(LeftOut(name, BAD, str(error)))

    def _note(self, source: Source) -> None:
        """Says what a source holds besides."""
        aside, notices = source.aside, self.listing.notices
        for paths, *what in (
            (aside.hidden, "hidden file", "hidden files"),
            (aside.links, "link to a folder", "links to folders"),
        ):
            if paths:
                count = counted(len(paths), *what)
                notices.append(f"{source.origin}: {count} left aside: {first_of(paths)}.")
        if aside.others:
            kinds = [f"{kind} {count:,}" for kind, count in aside.others.most_common()]
            notices.append(
                f"{source.origin}: {counted(aside.others.total(), 'other file')} left aside: "
                f"{first_of(kinds)}."
            )

    def finish(self) -> Listing:
        """All of it, sorted."""
        listing = self.listing
        listing.files.sort()
        for found in (listing.left_out, listing.refused):
            found.sort(key=lambda item: (item.file, item.reason, item.detail))
        listing.absent = sorted(
            name
            for name in self.exclude
            if name not in self._seen and parse_name(name).belongs_to(self.benchmark)
        )
        return listing


def _sample(file: str) -> str:
    """A file's name without the suffix."""
    return file[: -len(SUFFIX)] if file.lower().endswith(SUFFIX) else file


def first_of(texts: Sequence[str]) -> str:
    """The first ten, and how many more."""
    more = f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def paths_of(source: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """One or several sources as paths.

    Raises:
        UserError: none is given.
    """
    given = [source] if isinstance(source, str | Path) else list(source)
    if not given:
        raise UserError("No source was given: expected a folder or zip of .skeleton files.")
    return tuple(map(Path, given))
