"""Stores that exist already: the same content is kept, another one is not replaced unasked."""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frcore.data.benchmarks import Benchmark
from frcore.data.clips import ClipRecord
from frcore.data.store import Store, has_store, read_store, write_store
from frcore.errors import UserError

log = logging.getLogger(__name__)


def write_unless_there(
    path: Path,
    benchmark: Benchmark,
    clips: Iterable[ClipRecord],
    *,
    overwrite: bool = False,
    preset: str = "",
    **options: Any,
) -> Store:
    """Writes a store; one that exists and holds the very same is returned as it is.

    Args:
        path: the store's folder.
        benchmark: its record.
        clips: see `write_store`.
        overwrite: replace what is there.
        preset: how the clips were made; a store that was made otherwise holds something else.
        **options: of `write_store`.

    Raises:
        UserError: a store is there that holds something else; or as `write_store`.
    """
    if overwrite or not path.exists():
        if path.exists():
            log.warning("Replacing the store %s.", path)
        return write_store(path, benchmark, clips, preset=preset, **options)
    there = read_store(path) if has_store(path) else None
    if there is not None and there.record.get("preset") == preset:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".compare-") as folder:
            made = write_store(Path(folder) / path.name, benchmark, clips, preset=preset, **options)
            if (
                there.fingerprint == made.fingerprint
                and there.benchmark == made.benchmark
                and there.samples.equals(made.samples)
            ):
                log.info("%s holds these clips already.", path)
                return there
    raise UserError(
        f"{path} exists already and holds something else; pass overwrite=True (--overwrite) to "
        "replace it, or another name (--name)."
    )
