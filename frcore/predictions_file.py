"""The file of a `Predictions`: one `.npz` of plain arrays and a JSON header, without pickle.

A file is hostile until checked: only stored members (no decompression bombs), every array's size
and type compared with its member's size before anything is allocated, checksums verified.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.errors import UserError
from frcore.files import atomic_write, make_folder_of

FORMAT = "frcore.predictions"
VERSION = 1
_DTYPES = {"header": "|u1", "labels": "<i8", "predicted": "<i8", "copies": "|b1"}  # else "<f4"


def plain_json(value: object, name: str) -> Any:
    """A deep copy of `value` as JSON gives it back; paths and NumPy numbers become plain ones."""

    def convert(item: object) -> object:
        if isinstance(item, np.generic | np.ndarray):
            return item.tolist()
        if isinstance(item, Path):
            return str(item)
        raise TypeError(f"{type(item).__name__} is not plain JSON")

    try:
        return json.loads(json.dumps(value, default=convert))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{name}: must be plain JSON values ({error}).") from error


def write(path: Path, fields: Mapping[str, Any]) -> Path:
    """Writes the fields of a `Predictions` to `path` in one step, its folder with it."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        **{name: fields[name] for name in ("sample_ids", "class_names", "metadata")},
        "features": list(fields["features"]),
        "prototypes": list(fields["prototypes"]),
        "logits": fields["logits"] is not None,
    }
    arrays = {
        "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        "labels": fields["labels"].astype("<i8"),
        "predicted": fields["predicted"].astype("<i8"),
        "copies": fields["copies"],
    }
    if fields["logits"] is not None:
        arrays["logits"] = fields["logits"].astype("<f4")
    for kind in ("features", "prototypes"):
        for n, array in enumerate(fields[kind].values()):
            arrays[f"{kind}_{n}"] = array.astype("<f4")
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    make_folder_of(path)
    atomic_write(path, buffer.getbuffer())  # no copy: features can be large
    return path


def read(path: Path) -> dict[str, Any]:
    """The arguments of `Predictions` from a file made by `write`.

    Raises:
        UserError: naming the file, for one that is missing, damaged, of another kind or version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(_array(archive, "header").tobytes())
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise ValueError("its header is not one of predictions")
            if header.get("version") != VERSION:
                raise ValueError(
                    f"format version {header.get('version')!r}, this frcore reads {VERSION}"
                )
            return _fields(archive, header)
    except FileNotFoundError as error:
        raise UserError(f"No predictions file {path}.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.") from error
    except Exception as error:  # whatever its parsers raise over damaged or hostile bytes
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(
            f"{path} is not a readable predictions file: {reason or type(error).__name__}. "
            "Make it again with Predictions.save or `frcore predict --out FILE.npz`."
        ) from error


def _fields(archive: zipfile.ZipFile, header: dict[str, Any]) -> dict[str, Any]:
    lists = ("sample_ids", "class_names", "features", "prototypes")
    for name, kind in {"metadata": dict, **dict.fromkeys(lists, list)}.items():
        if not isinstance(header[name], kind):
            raise ValueError(f"its {name} is no {kind.__name__}")
    spaces = {
        kind: {str(space): _array(archive, f"{kind}_{n}") for n, space in enumerate(header[kind])}
        for kind in ("features", "prototypes")
    }
    return {
        "sample_ids": header["sample_ids"],
        "labels": _array(archive, "labels"),
        "class_names": header["class_names"],
        "logits": _array(archive, "logits") if header["logits"] else None,
        "predicted": _array(archive, "predicted"),
        "metadata": header["metadata"],
        "copies": _array(archive, "copies"),
        **spaces,
    }


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One member, its declared type and size checked against the bytes that are there."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise ValueError(f"array '{name}' is compressed")
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"array '{name}' has an unknown format")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        wanted = np.dtype(_DTYPES.get(name, "<f4"))
        count = 1
        for size in shape:
            count *= size  # Python integers: cannot overflow
        if fortran or dtype != wanted or min(shape, default=0) < 0:
            raise ValueError(f"array '{name}' is {dtype} {shape}, expected {wanted}")
        if member.tell() + count * wanted.itemsize != info.file_size:
            raise ValueError(f"array '{name}' declares shape {shape}, which its size does not fit")
        data = member.read()  # to the end, which also verifies the checksum
    return np.frombuffer(data, dtype=wanted).reshape(shape)


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Writes `Predictions.frame()` as CSV (RFC 4180: lines end in CR LF, so that either is quoted).

    Text that a spreadsheet would run as a formula gets a ' before it.
    """
    table = table.copy()
    for column in ("sample_id", "class", "predicted_class"):
        formula = table[column].str.match(r"[=+\-@\t\r]")
        table[column] = table[column].where(~formula, "'" + table[column])
    make_folder_of(path)
    atomic_write(path, table.to_csv(index=False, lineterminator="\r\n"))
    return path
