"""Stores that exist already: the same content is kept, another one is not replaced unasked."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frcore.data.benchmarks import Benchmark
from frcore.data.clips import ClipRecord
from frcore.data.store import Store, StoreError, has_store, read_store, write_store
from frcore.errors import UserError, counted
from frcore.process import ProcessLock

log = logging.getLogger(__name__)

ANOTHER_NAME = "another name (--name)"
ANOTHER_ROOT = "another data root (root=, FRCORE_DATA)"


def write_unless_there(
    path: Path,
    benchmark: Benchmark,
    clips: Iterable[ClipRecord],
    *,
    overwrite: bool = False,
    preset: str = "",
    instead: str = ANOTHER_NAME,
    **options: Any,
) -> Store:
    """Writes a store; one that exists and holds the very same is returned as it is.

    Args:
        path: the store's folder.
        benchmark: its record.
        clips: see `write_store`.
        overwrite: replace what is there.
        preset: how the clips were made; a store that was made otherwise holds something else.
        instead: what the caller may do instead of replacing.
        **options: of `write_store`.

    Raises:
        UserError: a store is there that holds something else; or as `write_store`.
    """
    if overwrite or not has_store(path):
        if has_store(path):
            log.warning("Replacing the store %s.", path)
        return write_store(path, benchmark, clips, preset=preset, **options)
    there = _readable(path)
    if there is not None and there.record.get("preset") == preset:
        folder = path.parent / f".{path.name}.compare"
        with ProcessLock(path.parent / f".{path.name}.compare.lock"):
            shutil.rmtree(folder, ignore_errors=True)  # under the lock: what a kill has left
            try:
                made = write_store(folder / path.name, benchmark, clips, preset=preset, **options)
                same = (
                    there.fingerprint == made.fingerprint
                    and there.benchmark == made.benchmark
                    and there.samples.equals(made.samples)
                )
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        if same:
            log.info("%s holds these clips already.", path)
            return there
    raise UserError(
        f"{path} exists already and holds something else; {_remedy(instead)} "
        f"There: {_description(path)}."
    )


def refuse_to_replace(path: Path, *, instead: str) -> None:
    """Raises where a store is: to be asked before work that takes hours.

    Args:
        path: the store's folder.
        instead: what the caller may do instead of replacing.

    Raises:
        UserError: saying what is there.
    """
    if has_store(path):
        raise UserError(
            f"{path} exists already: {_description(path)}. Nothing was done. If it is what you "
            f"want, use it; else {_remedy(instead)}"
        )


def _remedy(instead: str) -> str:
    return f"pass overwrite=True (--overwrite) to replace it, or {instead}."


def _readable(path: Path) -> Store | None:
    try:
        return read_store(path)
    except StoreError:
        return None


def _description(path: Path) -> str:
    store = _readable(path)
    if store is None:
        return "a store that is damaged or not of this version"
    preset = store.record.get("preset")
    made = f", made as '{preset}'" if isinstance(preset, str) and preset else ""
    return f"{counted(len(store), 'clip')} of {store.benchmark.name}{made}"
