"""Data: raw files in, packed stores out, and what is wrong with them. Lazy, and without torch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from frcore.data.arrays import from_arrays
    from frcore.data.catalog import get_benchmark, list_benchmarks, open_store
    from frcore.data.check import check_store
    from frcore.data.fetch import fetch_benchmark
    from frcore.data.formats.importing import import_clips
    from frcore.data.store import ClipRecord, Store, data_root, write_store

__all__ = [
    "ClipRecord",
    "Store",
    "check_store",
    "data_root",
    "fetch_benchmark",
    "from_arrays",
    "get_benchmark",
    "import_clips",
    "list_benchmarks",
    "open_store",
    "write_store",
]

_HOME = {
    "ClipRecord": "store",
    "Store": "store",
    "check_store": "check",
    "data_root": "store",
    "fetch_benchmark": "fetch",
    "from_arrays": "arrays",
    "get_benchmark": "catalog",
    "import_clips": "formats.importing",
    "list_benchmarks": "catalog",
    "open_store": "catalog",
    "write_store": "store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
