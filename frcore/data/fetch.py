"""Downloads a benchmark that may be downloaded freely, verifies its content and makes its store."""

import logging
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm.auto import tqdm

from frcore.data import ucla
from frcore.data.archive import MB, content_digest, open_source
from frcore.data.catalog import GATED, how_to_get, list_benchmarks, open_store
from frcore.data.store import Store, data_root
from frcore.errors import UserError, counted, unknown_name
from frcore.files import write_errors

log = logging.getLogger(__name__)


class FetchError(UserError):
    """A download failed or was not what was expected; nothing of it is kept."""


@dataclass(frozen=True)
class Download:
    """A public file and how to recognise its content, however the archive is packed.

    Args:
        benchmark: its name.
        url: where it is.
        members: how many data files it holds.
        digest: `content_digest` of it.
        suffix: how the names of data files end.
        max_bytes: a download larger than this is broken off.
    """

    benchmark: str
    url: str
    members: int
    digest: str
    suffix: str = ".json"
    max_bytes: int = 256 * MB


DOWNLOADS = {
    # As linked by the CTR-GCN authors; dl=1 asks for the file instead of a page about it.
    "nw_ucla": Download(
        benchmark="nw_ucla",
        url="https://www.dropbox.com/s/10pcm4pksjy6mkq/all_sqe.zip?dl=1",
        members=ucla.NUM_CLIPS,
        digest=ucla.DIGEST,
    ),
}
_PREPARE = {"nw_ucla": ucla.prepare}


def fetch_benchmark(
    name: str,
    *,
    root: str | Path | None = None,
    url: str | None = None,
    download: Download | None = None,
) -> Store:
    """Downloads, verifies and stores a benchmark; an existing store is opened instead.

    The archive is read in memory and never extracted; it is deleted when its clips are stored.

    Args:
        name: "nw_ucla".
        root: data root; None: `data_root()`.
        url: another address of the same file.
        download: another file (address and content), for mirrors with other content and for tests.

    Raises:
        FetchError: naming the file, what was expected and what came.
    """
    if name not in DOWNLOADS:
        if name in GATED:
            raise UserError(f"'{name}' has no public download. {how_to_get(name)}")
        if name in list_benchmarks():
            raise UserError(f"'{name}' needs no download: it is made on first use.")
        raise unknown_name("download", name, DOWNLOADS)
    base = Path(root) if root is not None else data_root()
    if (base / name / "store.json").is_file():
        log.warning("%s is there already; remove it to download it again.", base / name)
        return open_store(name, root=base)
    expected = download or DOWNLOADS[name]
    url = url or expected.url
    temp = base / f".{name}.{secrets.token_hex(4)}.download"
    try:
        with write_errors(base, 0):
            temp.mkdir(parents=True)
        archive = _download(url, temp / "download.zip", expected)
        _verify(archive, url, expected)
        return _PREPARE[name](archive, root=base)
    except PermissionError as error:
        raise FetchError(f"Cannot write to {base}: {error.strerror}.") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


class _Progress:
    """What pooch asks of a progress bar; breaks off what is far too large to be the file."""

    total = 0  # set by pooch; 0: the server does not say

    def __init__(self, name: str, max_bytes: int) -> None:
        self.bar = tqdm(desc=f"download {name}", unit="B", unit_scale=True)
        self.max_bytes, self.seen = max_bytes, 0

    def update(self, count: int) -> None:
        self.bar.total = self.total or None
        self.seen += count  # a bar that is switched off does not count
        if self.seen > self.max_bytes:
            raise ValueError(f"it is larger than {self.max_bytes // MB} MB")
        self.bar.update(count)

    def reset(self) -> None:
        self.seen = 0
        if self.total:
            self.bar.reset()

    def close(self) -> None:
        self.bar.close()


def _download(url: str, path: Path, expected: Download) -> Path:
    # Imported here: pooch brings requests, which nothing else needs.
    import pooch

    if not url.startswith(("https://", "http://")):
        raise FetchError(f"'{url}' is not an http(s) address; for a file use --source.")
    pooch.get_logger().setLevel(logging.WARNING)  # it advises to pin a hash; ours is of the content
    progress = _Progress(_file_name(url), expected.max_bytes)
    try:
        downloader = pooch.HTTPDownloader(progressbar=progress, timeout=60)
        pooch.retrieve(url, None, path.name, path.parent, downloader=downloader)
    except PermissionError:
        raise
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise _failed(url, f"failed: {error}", expected) from error
    finally:
        progress.close()
    return path


def _verify(archive: Path, url: str, expected: Download) -> None:
    head = archive.read_bytes()[:256].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise _failed(url, "gave a web page instead of the file", expected)
    try:
        with open_source(archive, expected.suffix) as source:
            count, digest = len(source), content_digest(source)
    except UserError as error:
        reason = str(error).replace(str(archive), "the archive")
        reason = reason.rstrip(".")  # whose sentence goes on
        raise _failed(url, f"gave something else or only a part: {reason}", expected) from error
    if (count, digest) != (expected.members, expected.digest):
        raise _failed(url, f"gave {counted(count, 'file')} with content sha256 {digest}", expected)


def _failed(url: str, what: str, expected: Download) -> FetchError:
    return FetchError(
        f"The download of {_file_name(url)} from {url} {what}. Expected: a zip archive of "
        f"{expected.members} {expected.suffix} files with content sha256 {expected.digest}. "
        "Nothing was kept. If you have the file: "
        f"frcore data prepare {expected.benchmark} --source FILE"
    )


def _file_name(url: str) -> str:
    return PurePosixPath(url.split("?")[0]).name or "the file"
