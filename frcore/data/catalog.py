"""The benchmarks by name: their records, and their stores in the data root."""

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from frcore.data.benchmarks import NTU60, NTU120, NW_UCLA, Benchmark, check_name
from frcore.data.store import Store, StoreNotFound, data_root, has_store, read_store
from frcore.data.synthetic import GENERATOR_VERSION, SYNTHETIC, prepare
from frcore.errors import unknown_name
from frcore.process import LockedError

log = logging.getLogger(__name__)

_RECORDS = {record.name: record for record in (SYNTHETIC, NW_UCLA, NTU60, NTU120)}
GATED = (NTU60.name, NTU120.name)  # handed out on request, so many have no store of them


def list_benchmarks() -> list[str]:
    """Names of the benchmarks this version can make; a user's own are folders in the data root."""
    return list(_RECORDS)


def get_benchmark(name: str) -> Benchmark:
    """The record of a benchmark: a built-in one, or that of your own data in the data root.

    Raises:
        UserError: for another name, with the nearest one.
    """
    return _RECORDS[name] if name in _RECORDS else _open(name, data_root(), _RECORDS).benchmark


def open_store(name_or_path: str | Path, *, root: str | Path | None = None) -> Store:
    """Opens a store by the name of its folder in the data root, or by path.

    "synthetic" is made on first use (seconds).

    Raises:
        StoreNotFound: with the command that makes it, or the nearest name.
        StoreError: if its files are damaged or do not agree.
    """
    base = Path(root) if root is not None else data_root()
    return _open(name_or_path, base, list_benchmarks())


def existing_store(name: str) -> Store:
    """As `open_store`, but makes nothing."""
    return _open(name, data_root(), list_benchmarks(), make=False)


def _open(
    name_or_path: str | Path, base: Path, known: Iterable[str], *, make: bool = True
) -> Store:
    """The store; `known` names are offered where there is none of that name."""
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in name or os.sep in name:
        return read_store(Path(name_or_path))
    path = base / check_name("store name", name)
    if not has_store(path):
        if name != SYNTHETIC.name or not make:
            raise _not_found(name, base, known)
        return _make_synthetic(path)
    store = read_store(path)
    if name == SYNTHETIC.name and _version(store) != _version_now():
        log.warning(
            "%s was made by an older generator (%s, now %s); delete it to have it made anew.",
            path,
            _version(store),
            _version_now(),
        )
    return store


def _version(store: Store) -> str:
    return str(store.record.get("preset", "")).split(",")[0]


def _version_now() -> str:
    return f"{SYNTHETIC.name} v{GENERATOR_VERSION}"


def _make_synthetic(path: Path) -> Store:
    log.info("Making the embedded benchmark 'synthetic' in %s (once).", path)
    while True:
        try:
            return prepare(path.parent)
        except LockedError:  # several runs start at once: one makes it, the others wait
            time.sleep(0.2)
            if has_store(path):
                return read_store(path)


def how_to_get(name: str) -> str:
    """Where the files of a benchmark in `GATED` come from, and the command that reads them."""
    return (
        "Its authors hand out the skeletons on request (https://rose1.ntu.edu.sg). Make the store "
        "from the zips, or a folder of .skeleton files, with\n"
        f"  frcore data prepare {name} --source PATH --exclude LIST_OF_INCOMPLETE_SKELETONS.txt\n"
        "or from an npz of the CTR-GCN family or a pickle of pyskl with\n"
        f"  frcore data import {name} FILE"
    )


def _not_found(name: str, base: Path, known: Iterable[str]) -> StoreNotFound:
    if name == NW_UCLA.name:
        return StoreNotFound(
            f"No store '{name}' in {base}. Make it from the download with\n"
            f"  frcore data prepare {name} --source all_sqe.zip\n"
            f"or download it with\n  frcore data fetch {name}"
        )
    if name == SYNTHETIC.name:
        return StoreNotFound(
            f"No store '{name}' in {base}. Make it with\n  frcore data prepare {name}"
        )
    if name in GATED:
        return StoreNotFound(f"No store '{name}' in {base}. {how_to_get(name)}")
    here = [p.name for p in sorted(base.glob("[!.]*")) if has_store(p)] if base.is_dir() else []
    text = str(unknown_name("benchmark", name, sorted({*known, *here})))
    return StoreNotFound(f"{text} (Looked in {base}; your own data: frcore.data.from_arrays.)")
