"""What score and label files of others hold, whatever their format: `scores` puts it together."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frcore.ensembles import first_ten
from frcore.errors import UserError
from frcore.pickles import read_pickle

_IDS = ("sample_id", "sample_ids", "name", "names", "file_name", "frame_dir", "sample_name", "id")
LABELS = ("label", "labels", "y", "y_test", "y_true", "true", "target", "targets")
_SCORES = ("logits", "scores", "score", "y_pred", "predicted", "prediction", "predictions", "pred")
_UNPACKED = 2**30  # bytes to which an array of an npz may unpack, whatever it is packed to


@dataclass
class Part:
    """A column of a file: one value a clip, by id where the file has ids."""

    values: np.ndarray  # (N, K) scores or (N,) classes
    ids: list[str] | None
    source: str


def read_file(path: Path) -> Any:
    """The content of a file: plain values, an array, a mapping of arrays or a table."""
    suffix = path.suffix.lower()
    if suffix in (".pkl", ".pickle"):
        return read_pickle(path)
    if suffix not in (".npz", ".npy", ".csv"):
        raise UserError(f"{path}: expected a .pkl, .npz, .npy or .csv file.")
    try:
        if suffix == ".csv":
            return pd.read_csv(path, dtype=str, keep_default_na=False)
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else _OpenArrays(loaded, path)
    except FileNotFoundError as error:
        raise UserError(f"No file {path}.") from error
    except Exception as error:  # pandas, zipfile and NumPy raise many kinds
        raise UserError(f"Cannot read {path}: {error}") from error


class _OpenArrays:
    """The arrays of an npz, read one by one: `x_test` may be gigabytes that nobody needs."""

    def __init__(self, loaded: Any, path: Path) -> None:
        self._loaded, self._path = loaded, path
        self.names = list(loaded.files)

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            packed = self._loaded.zip.getinfo(f"{name}.npy")
            if packed.file_size > max(_UNPACKED, 100 * packed.compress_size):
                raise ValueError(f"it would unpack to {packed.file_size:,} bytes")
            return self._loaded[name]
        except Exception as error:
            raise UserError(f"Cannot read array '{name}' of {self._path}: {error}") from error


def scores_in(content: Any, path: Path, wanted: str | None) -> Part:
    where = str(path)
    if isinstance(content, pd.DataFrame):
        return Part(_scores_of_table(content, path, wanted), _ids_of_table(content), where)
    if isinstance(content, _OpenArrays):
        name = _choose(content.names, wanted, path)
        return Part(_numbers(content[name], f"{path}[{name!r}]"), _ids_of_arrays(content), where)
    if isinstance(content, dict):
        rows = [_row(row, path) for row in content.values()]
        ids, order = _keys(list(content), path)
        return Part(_stack([rows[place] for place in order], path), ids, where)
    if isinstance(content, list | tuple):
        return Part(_stack([_row(row, path) for row in content], path), None, where)
    return Part(_numbers(content, where), None, where)


def _keys(keys: list[Any], path: Path) -> tuple[list[str] | None, list[int]]:
    """Ids of a dictionary's rows, or None for indices; and the order in which to take the rows."""
    if all(isinstance(key, str) for key in keys):
        return keys, list(range(len(keys)))
    if not all(type(key) is int for key in keys):
        raise UserError(
            f"{path}: expected sample names or indices as keys, got {type(keys[0]).__name__}."
        )
    place = {key: row for row, key in enumerate(keys)}
    missing = [index for index in range(len(keys)) if index not in place]
    if missing:
        raise UserError(
            f"{path}: {len(keys)} scores by index, but {len(missing)} of 0..{len(keys) - 1} are "
            f"missing: {first_ten(missing)}."
        )
    return None, [place[index] for index in range(len(keys))]


def _row(values: Any, path: Path) -> np.ndarray:
    """One clip's K scores: an array, or a flat list of numbers."""
    if isinstance(values, list | tuple):
        if not all(isinstance(value, int | float) for value in values):
            raise UserError(
                f"{path}: expected K numbers for each clip, found nested lists or text."
            )
        values = np.asarray(values)
    if not isinstance(values, np.ndarray):
        values = np.zeros(())  # reported with its shape
    return values.squeeze() if values.size == max(values.shape, default=0) else values


def _stack(rows: list[np.ndarray], path: Path) -> np.ndarray:
    sizes = Counter(row.shape for row in rows)
    if len(sizes) != 1 or len(next(iter(sizes))) != 1:
        shown = ", ".join(f"{count} of shape {shape}" for shape, count in sizes.most_common(3))
        raise UserError(f"{path}: expected K scores for each clip; found {shown or 'no clips'}.")
    return _numbers(np.stack(rows), str(path))


def _numbers(values: np.ndarray, what: str) -> np.ndarray:
    whole = values.dtype.kind in "iu"
    if not (values.ndim == 2 and (whole or values.dtype.kind == "f")) and not (
        values.ndim == 1 and whole
    ):
        raise UserError(
            f"{what}: expected (N, K) scores or (N,) predicted classes, got {values.dtype} "
            f"{values.shape}."
        )
    return values


def _choose(names: list[str], wanted: str | None, path: Path) -> str:
    """The array with the scores."""
    if wanted is not None:
        if wanted not in names:
            raise UserError(f"{path} has no '{wanted}'. It holds: {', '.join(names)}.")
        return wanted
    usual = [name for name in _SCORES if name in names]
    others = [name for name in names if name not in (*_IDS, *LABELS)]
    if usual or len(others) == 1:
        return usual[0] if usual else others[0]
    raise UserError(
        f"{path}: which array holds the scores? Name it (scores=, --scores, --score); there are: "
        f"{', '.join(others) or 'none is left'}."
    )


def _scores_of_table(table: pd.DataFrame, path: Path, wanted: str | None) -> np.ndarray:
    """A column of classes, or a column of scores a class: `score_0`, `logit 0`, or just `0`."""
    if wanted is None:
        bare = table.columns.str.extract(r"^(?:logit|score|prob|class)?[ _]?(\d+)$")[0]
        numbered = {int(k): place for place, k in enumerate(bare) if isinstance(k, str)}
        if len(numbered) > 1:
            missing = [k for k in range(len(numbered)) if k not in numbered]
            if missing:
                raise UserError(
                    f"{path}: {len(missing)} of the score columns are missing, of classes "
                    f"{first_ten(missing)}."
                )
            places = [numbered[k] for k in range(len(numbered))]
            return _floats_of(table.iloc[:, places], path)
    return _whole_of(table, _choose(list(table.columns), wanted, path), path)


def _floats_of(table: pd.DataFrame, path: Path) -> np.ndarray:
    try:
        return table.to_numpy(dtype=np.float64)
    except ValueError as error:
        raise UserError(f"{path}: a score is not a number ({error}).") from error


def _whole_of(table: pd.DataFrame, column: str, path: Path) -> np.ndarray:
    try:
        return table[column].to_numpy().astype(np.int64)
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"{path}: column '{column}' must hold classes as numbers, 0..K-1 ({error})."
        ) from error


def _ids_of_table(table: pd.DataFrame) -> list[str] | None:
    column = next((name for name in _IDS if name in table.columns), None)
    if column is None:
        return None
    return table[column].map(plain_text).tolist()


def _ids_of_arrays(arrays: _OpenArrays) -> list[str] | None:
    column = next((name for name in _IDS if name in arrays.names), None)
    if column is None:
        return None
    names = arrays[column].tolist()
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def labels_in(content: Any, path: Path) -> Part | None:
    """True classes in a file, counted from 0; None where it has none."""
    where = str(path)
    if isinstance(content, pd.DataFrame):
        column = next((name for name in LABELS if name in content.columns), None)
        if column is None:
            return None
        return Part(_whole_of(content, column, path), _ids_of_table(content), where)
    if isinstance(content, _OpenArrays):
        column = next((name for name in LABELS if name in content.names), None)
        if column is None:
            return None
        values = classes_of(content[column], f"{path}[{column!r}]")
        return Part(values, _ids_of_arrays(content), where)
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return _label_records(content, path)
    if isinstance(content, list | tuple) and len(content) == 2 and _are_names(content[0]):
        return Part(classes_of(_row(content[1], path), where), [str(n) for n in content[0]], where)
    if isinstance(content, np.ndarray) and content.ndim == 1:
        return Part(classes_of(content, where), None, where)
    return None


def _label_records(records: list[dict[str, Any]], path: Path) -> Part:
    """A list of `{file_name, label}`, labels from 1 (NW-UCLA's `val_label.pkl`)."""
    wrong = [row for row in records if not isinstance(row.get("file_name"), str)]
    wrong += [row for row in records if type(row.get("label")) is not int or row["label"] < 1]
    if wrong:
        got = {name: wrong[0].get(name) for name in ("file_name", "label")}
        shown = got if all(isinstance(v, str | int | None) for v in got.values()) else "others"
        raise UserError(f"{path}: expected file_name and label (from 1), got {shown}.")
    values = np.array([row["label"] - 1 for row in records])
    return Part(values, [row["file_name"] for row in records], str(path))


def _are_names(values: Any) -> bool:
    if not isinstance(values, list | tuple | np.ndarray):
        return False
    return all(isinstance(name, str) for name in values)


def classes_of(values: np.ndarray, what: str) -> np.ndarray:
    """(N,) classes, also from one-hot rows (N, K)."""
    if values.ndim == 2 and values.dtype.kind in "biuf":
        if not (np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()):
            raise UserError(f"{what}: expected classes or one-hot rows.")
        return values.argmax(axis=1)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise UserError(f"{what}: expected (N,) classes, got {values.dtype} {values.shape}.")
    return values.astype(np.int64)


def class_names_in(content: Any, count: int) -> tuple[str, ...] | None:
    """Names beside the classes of a table, as `frcore predict --out` writes them; None without."""
    if not isinstance(content, pd.DataFrame):
        return None
    names = [f"class {k}" for k in range(count)]
    found = False
    for number, name in (("label", "class"), ("predicted", "predicted_class")):
        if {number, name} <= set(content.columns):
            for k, text in dict(zip(content[number], content[name], strict=True)).items():
                if int(k) < count:
                    names[int(k)], found = plain_text(text), True
    return tuple(names) if found else None


def plain_text(text: str) -> str:
    """Text of a CSV without the ' that frcore writes before what a spreadsheet would run."""
    return re.sub(r"^'(?=[=+\-@\t\r])", "", text)
