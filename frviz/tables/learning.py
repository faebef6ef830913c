"""When clips are learnt and forgotten, from a run's history."""

import numpy as np
import pandas as pd

from frcore.errors import UserError
from frcore.run import Run
from frviz.sources import Split, class_labels, open_run
from frviz.tables.statistics import share

STATUS = ("learnt", "forgotten", "never learnt")


def learning_history(run: Run | str, *, split: Split = "train") -> pd.DataFrame:
    """When each clip was learnt, how often it was forgotten, and how it ended.

    Args:
        run: a run or its directory.
        split: "train" (as trained on: augmented), "val" or "test".

    Returns:
        A row a clip: `class`, `status` ("learnt": right at the end; "forgotten": wrong at the end
        but right once; "never learnt"), `first_right` and `learnt_at` (epochs; the latter from
        which on it stays right), `forgettings` (times it went from right to wrong; Toneva et al.,
        ICLR 2019), `mean_p_true` and `last_p_true`. Epochs in which a clip was not seen do not
        count.

    Raises:
        UserError: no run, or no history of that split.
    """
    logs = _logs(run, split)
    predicted, labels = logs[f"{split}_predicted"], logs[f"{split}_labels"]  # (epochs, N), (N,)
    epochs, p_true = logs["epoch"], logs[f"{split}_p_true"]
    seen, right = predicted >= 0, predicted == labels
    right = _carried(right & seen, seen)  # an epoch that did not see the clip changes nothing
    ends_right, ever = right[-1], right.any(axis=0)
    stays = np.flip(np.logical_and.accumulate(np.flip(right, 0), axis=0), 0)
    names = class_labels(_class_names(logs, labels))
    mean, last = _mean_and_last(p_true)
    return pd.DataFrame(
        {
            "class": names[labels],
            "status": pd.Categorical.from_codes(
                np.where(ends_right, 0, np.where(ever, 1, 2)), STATUS, ordered=True
            ),
            "first_right": _first_epoch(right, epochs),
            "learnt_at": _first_epoch(stays, epochs),
            "forgettings": (right[:-1] & ~right[1:]).sum(axis=0),
            "mean_p_true": mean,
            "last_p_true": last,
        },
        index=pd.Index(logs[f"{split}_sample_ids"].astype(object), name="sample_id"),
    )


def learning_curves(run: Run | str, *, split: Split = "test") -> pd.DataFrame:
    """Accuracy of each class by epoch: a row an epoch, a column a class.

    Of the clips that were seen in that epoch; NaN where none was (an epoch without evaluation).

    Raises:
        UserError: no run, or no history of that split.
    """
    logs = _logs(run, split)
    labels, predicted = logs[f"{split}_labels"], logs[f"{split}_predicted"]
    names = _class_names(logs, labels)
    seen = predicted >= 0
    right, all_seen = (
        np.stack([np.bincount(labels, row, len(names)) for row in rows])
        for rows in (seen & (predicted == labels), seen)
    )
    epochs = pd.Index(logs["epoch"], name="epoch")
    return pd.DataFrame(share(right, all_seen), epochs, class_labels(names).rename("class"))


def _logs(run: Run | str, split: Split) -> dict[str, np.ndarray]:
    """The history of a run, if it has one of that split."""
    run = open_run(run)
    logs = run.history
    if not len(logs.get(f"{split}_predicted", ())):
        known = [key.removesuffix("_predicted") for key in logs if key.endswith("_predicted")]
        raise UserError(
            f"{run.path} has no history of '{split}'; it has: {', '.join(known) or 'none'}."
        )
    return logs


def _carried(right: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The last known outcome for each epoch; wrong before the first."""
    place = np.where(seen, np.arange(len(seen))[:, None], -1)
    place = np.maximum.accumulate(place, axis=0)
    known = np.take_along_axis(right, np.maximum(place, 0), axis=0)
    return known & (place >= 0)


def _first_epoch(holds: np.ndarray, epochs: np.ndarray) -> pd.arrays.IntegerArray:
    first = np.where(holds.any(axis=0), epochs[holds.argmax(axis=0)], -1)
    return pd.array(np.where(first < 0, None, first), dtype="Int64")


def _mean_and_last(p_true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(p_true)
    mean = share(np.where(known, p_true, 0).sum(axis=0), known.sum(axis=0))
    place = np.maximum.accumulate(np.where(known, np.arange(len(known))[:, None], 0), axis=0)[-1]
    return mean, np.take_along_axis(p_true, place[None], axis=0)[0]


def _class_names(logs: dict[str, np.ndarray], labels: np.ndarray) -> list[str]:
    """Names of the classes; numbers in a history of an older version."""
    if "class_names" in logs:
        return [str(name) for name in logs["class_names"]]
    return [f"class {k}" for k in range(int(labels.max(initial=0)) + 1)]
