"""What the tables accept: a run, its directory, a checkpoint, predictions or their file."""

import logging
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from frcore.data.store import StoreNotFound
from frcore.ensembles import align
from frcore.errors import NoSuchSplit, UserError, unknown_name
from frcore.predictions import Predictions
from frcore.run import Run
from frcore.scores import read_scores

Source = Predictions | Run | str | Path
Split = Literal["train", "val", "test"]

log = logging.getLogger(__name__)

BEST_ON_TEST = "best epoch on test"  # what everything made from such a checkpoint says
LARGEST_SEED = 2**31 - 1  # that all libraries take, and the next seed, too
_SCORE_FILES = (".csv", ".npy", ".pkl", ".pickle")
Table = TypeVar("Table", pd.DataFrame, pd.Series)


def predictions_of(
    source: Source, *, split: Split = "test", spaces: Sequence[str] = ("backbone",)
) -> Predictions:
    """The predictions that a source has or makes.

    Args:
        source: `Predictions`, a file of them, a score file that holds its labels, a run, its
            directory, or a checkpoint. A trained model predicts (needs torch), once: what it said
            is kept beside the checkpoint.
        split: of a trained model.
        spaces: features that a trained model keeps.

    Raises:
        UserError: it is nothing of that, or cannot be read.
    """
    if isinstance(source, Predictions):
        return source
    if isinstance(source, str | Path):
        path = Path(source)
        if path.suffix.lower() == ".npz":
            return _from_npz(path)
        if path.suffix.lower() in _SCORE_FILES:
            return read_scores(path)
        if path.is_file() and path.suffix != ".safetensors":
            raise UserError(
                f"Cannot take predictions from {path}: give a run's directory, a checkpoint "
                f"(.safetensors), predictions (.npz) or scores ({', '.join(_SCORE_FILES)})."
            )
    elif not isinstance(source, Run):
        raise UserError(
            f"Cannot take predictions from {type(source).__name__}: give a run, a path or "
            "Predictions."
        )
    from frcore.inference import predict

    return predict(source, split=split, spaces=tuple(spaces))


def _check_seeds(members: list[Predictions]) -> None:
    """A list is for runs of one model that differ in their seed."""
    for key in ("model", "stream", "benchmark", "protocol"):
        found = sorted({str(run.metadata[key]) for run in members if key in run.metadata})
        if len(found) > 1:
            raise UserError(
                f"The runs of a list differ in their {key} ({', '.join(found)}); a list is for "
                "seeds of one model."
            )
    checkpoints = [run.metadata["checkpoint"] for run in members if run.metadata.get("checkpoint")]
    if len(set(checkpoints)) < len(checkpoints):
        raise UserError("The same checkpoint occurs twice in a list of runs (seeds).")


def _warn_of_differences(members: list[Predictions]) -> None:
    """Says what more than the seed differs between runs of a list, or that the seed does not."""
    keys = {
        "epoch": "epoch",
        "select": "select",
        "duplicates": "duplicates",
        "preset": "preset of the clips",
        "config": "configuration beside the seed",
    }
    if any(run.metadata.get("select", "last") != "last" for run in members):
        del keys["epoch"]  # the best one is another one in each run
    found = []
    for key, word in keys.items():
        runs = _by_value(members, key)
        if len(runs) > 1:
            shown = ("" if key == "config" else f": {value}" for value in runs)  # "": a hash
            each = [
                ", ".join(names) + value for names, value in zip(runs.values(), shown, strict=True)
            ]
            found.append(f"they differ in their {word} ({'; '.join(each)})")
    for seed, names in _by_value(members, "seed").items():
        if len(names) > 1:
            found.append(f"{', '.join(names)} have the same seed {seed}")
    if found:
        log.warning(
            "A list is for runs of one model that differ in their seed alone; but %s.",
            "; ".join(found),
        )


def _by_value(members: list[Predictions], key: str) -> dict[str, list[str]]:
    """The runs, by name, that have each value of a key; those without the key are left out."""
    found: dict[str, list[str]] = {}
    for number, run in enumerate(members, start=1):
        if key in run.metadata:
            name = run.metadata.get("run")
            called = f"run {number}" + (f" ({name})" if name else "")
            found.setdefault(str(run.metadata[key]), []).append(called)
    return found


def best_on_test(*runs: Predictions) -> bool:
    """Whether the epoch of any of these runs was chosen by its accuracy on the test clips."""
    return any(run.metadata.get("select") == "test_best" for run in runs)


def marked_name(name: str, *runs: Predictions) -> str:
    """A model's name, with `BEST_ON_TEST` where that is so of one of its runs."""
    if not best_on_test(*runs) or BEST_ON_TEST in name:
        return name
    return f"{name} ({BEST_ON_TEST})"


def marked(table: Table, *models: Predictions, who: Sequence[str] = ("A", "B")) -> Table:
    """The table, with the note `BEST_ON_TEST` in its `attrs` where that is so of a model.

    Args:
        table: what was made.
        models: what it was made from.
        who: these in words, where there are several of which not all are so.
    """
    chosen = [best_on_test(model) for model in models]
    if any(chosen):
        names = [name for name, so in zip(who, chosen, strict=False) if so]
        table.attrs["note"] = BEST_ON_TEST if all(chosen) else f"{names[0]}: {BEST_ON_TEST}"
    return table


def open_run(source: Run | str | Path) -> Run:
    """A run, or that of its directory or of one of its checkpoints.

    Raises:
        UserError: no run is there.
    """
    if isinstance(source, Run):
        return source
    if not isinstance(source, str | Path):
        raise UserError(f"A run or its directory is needed, not {type(source).__name__}.")
    path = Path(source)
    return Run.open(path.parent if path.suffix == ".safetensors" else path)


def with_space(source: Source, space: str) -> Predictions:
    """Predictions with the features of a space.

    Raises:
        UserError: they do not have it; those that they have are named.
    """
    predictions = predictions_of(source, spaces=(space,))
    if space not in predictions.features:
        known = ", ".join(predictions.features) or "none"
        raise UserError(
            f"No features in space '{space}'; these predictions have: {known}. "
            f"frcore.predict(run, spaces=('{space}',)) makes them."
        )
    return predictions


def _from_npz(path: Path) -> Predictions:
    try:
        with zipfile.ZipFile(path) as archive:
            ours = "header.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        ours = True  # whose error says what is wrong
    return Predictions.load(path) if ours else read_scores(path)


def members_of(
    source: Source | Sequence[Source], *, split: Split = "test", warn: bool = True
) -> list[Predictions]:
    """The predictions of one model, or of several runs of it (seeds), over the same clips.

    Args:
        source: as in `predictions_of`, or a list of them.
        split: of trained models.
        warn: say what more than the seed differs between the runs.

    Raises:
        UserError: not runs of one model, or not over the same clips.
    """
    sources = list(source) if isinstance(source, list | tuple) else [source]
    if not sources:
        raise UserError("An empty list of runs: give one or more.")
    members = [predictions_of(one, split=split) for one in sources]
    _check_seeds(members)
    if warn:
        _warn_of_differences(members)
    return [
        align(members[0], member, f"run {number} of the list")
        for number, member in enumerate(members, start=1)
    ]


def is_trained(source: Any) -> bool:
    """A run or a checkpoint, which can predict another split or space."""
    if isinstance(source, str | Path):
        return Path(source).is_dir() or Path(source).suffix == ".safetensors"
    return isinstance(source, Run)


def head_spaces(source: Any) -> list[str]:
    """The branches of a run's head, whose features it can predict; none of what has no head."""
    if not is_trained(source):
        return []
    try:
        return [str(name) for name in open_run(source).calibration.get("spaces", ())]
    except UserError:  # a checkpoint on its own
        return []


def judges_of(
    sources: list[Any], known: list[tuple[Predictions, ...]] | None, who: str
) -> tuple[tuple[tuple[Predictions, ...], ...], str]:
    """The models that choose groups and levels, by validation clips where all of them have some.

    Args:
        sources: models, each a source or a list of its runs.
        known: their predictions of the test clips, where they are there already.
        who: these models in words.

    Returns:
        Their predictions, a tuple of runs a model, and how the choice is made in words.
    """
    listed = [list(one) if isinstance(one, list | tuple) else [one] for one in sources]
    if all(is_trained(run) for runs in listed for run in runs):
        try:
            judges = tuple(
                tuple(members_of(runs, split="val", warn=known is None)) for runs in listed
            )
            return judges, f"by validation clips of {who}"
        except NoSuchSplit:
            pass
        except StoreNotFound:
            log.warning(
                "The data are not here, and no predictions of validation clips are kept: groups "
                "are chosen by the test clips."
            )
    judges = tuple(known or [tuple(members_of(runs)) for runs in listed])
    return judges, f"by {who}"


def whole_seed(seed: Any) -> int:
    """A seed as a plain number.

    Raises:
        UserError: it is none, or one that some library would refuse.
    """
    if not isinstance(seed, int | np.integer) or not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed: expected a whole number from 0 to {LARGEST_SEED}; got {seed!r}.")
    return int(seed)


def class_labels(class_names: Sequence[str]) -> pd.Index:
    """Class names as an index: names that occur twice get their number."""
    count = Counter(class_names)
    labels = [n if count[n] == 1 else f"{n} ({k})" for k, n in enumerate(class_names)]
    if len(set(labels)) < len(labels):  # such as "w", "w", "w (0)"
        labels = [f"{name} ({k})" for k, name in enumerate(class_names)]
    return pd.Index(labels)


def class_number(name: Any, labels: Iterable[str]) -> int:
    """The index of a class given by its name or number.

    Raises:
        UserError: no such class; near names are shown.
    """
    names = list(labels)
    if isinstance(name, str) and name in names:
        return names.index(name)
    if isinstance(name, int | np.integer) and 0 <= name < len(names):
        return int(name)
    raise unknown_name("class", name, names)
