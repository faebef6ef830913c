"""import_clips: a file that others prepared becomes a store."""

import logging
from dataclasses import replace
from pathlib import Path

from frcore.data.benchmarks import BUILT_IN, NTU60, NTU120, check_name
from frcore.data.formats.ctrgcn import open_ctrgcn
from frcore.data.formats.findings import Findings
from frcore.data.formats.pyskl import open_pyskl
from frcore.data.replacing import write_unless_there
from frcore.data.store import Store, data_root
from frcore.errors import UserError, unknown_name

log = logging.getLogger(__name__)

_RECORDS = {record.name: record for record in (NTU60, NTU120)}
_READERS = {".npz": open_ctrgcn, ".pkl": open_pyskl, ".pickle": open_pyskl}


def import_clips(
    benchmark: str,
    file: str | Path,
    *,
    protocol: str | None = None,
    name: str | None = None,
    root: str | Path | None = None,
    skip_bad: bool = False,
    overwrite: bool = False,
) -> Store:
    """Makes a store of NTU RGB+D 60 or 120 from a file that others prepared.

    An npz of the CTR-GCN family is read in a stream, whatever its size: clips `train/000000`, ...
    with the frames that the published feeder uses of them; it holds one protocol and no subjects.
    A pickle of pyskl or mmaction2 (3-D skeletons) holds all protocols, and names that tell setup,
    camera and subject; its split "val" is the field's test split. Nothing in it is executed.

    Several files of one protocol each make several stores; give all but one a name.

    Args:
        benchmark: "ntu60" or "ntu120".
        file: .npz, .pkl or .pickle.
        protocol: by which an npz is split ("xsub", "xview", "xset"); None: as its name says
            (NTU60_CS.npz, NTU60_CV.npz, NTU120_CSub.npz, NTU120_CSet.npz).
        name: of the store, its folder in the data root; None: the benchmark's, so that recipes
            find it.
        root: data root; None: `data_root()`.
        skip_bad: leave clips out that cannot be used (no valid frame, NaN, ...) and list them in
            the store's `left_out.csv`; else they are an error.
        overwrite: replace an existing store of that name. Without, one that holds the very same is
            returned, one that differs is refused.

    Raises:
        UserError: naming the file, the clips, and what was expected.
    """
    if benchmark not in _RECORDS:
        raise unknown_name("benchmark to import", benchmark, _RECORDS)
    file, record = Path(file), _RECORDS[benchmark]
    name = benchmark if name is None else check_name("name", name)
    if name in BUILT_IN and name != benchmark:
        raise UserError(f"'{name}' is the name of another benchmark; give the store your own.")
    if not file.is_file():
        raise UserError(f"No such file: {file}")
    if file.suffix.lower() not in _READERS:
        raise UserError(
            f"{file}: expected an .npz of the CTR-GCN family or a .pkl of pyskl. Raw files: "
            f"frcore data prepare {benchmark}."
        )
    found = Findings(file, record, skip_bad=skip_bad)
    with _READERS[file.suffix.lower()](file, record, protocol) as source:
        store = write_unless_there(
            (Path(root) if root is not None else data_root()) / name,
            replace(record, name=name, **source.changes()),
            found.watch(source.records(found)),
            overwrite=overwrite,
            preset=source.preset,
            notices=found.notices,
            tables=found.tables,
        )
    for notice in store.notices:  # last, where a progress bar does not hide it
        log.warning("%s: %s", file, notice)
    return store
