"""The explorer's samples as a table: what each model said of each clip."""

import numpy as np
import pandas as pd

from frviz.explorer.subject import Subject

OUTCOMES = ("both right", "fixed", "broken", "both wrong")
LEARNT = ("status", "learnt_at", "forgettings")


def samples_table(subject: Subject) -> pd.DataFrame:
    """A row a clip, in the order of the predictions.

    Returns:
        By `sample_id`: `class`, `predicted`, `outcome`, `confidence`, `p_true`, `copy`, and where
        a run's history is there `status`, `learnt_at`, `forgettings`. Of two models these begin
        with `a_` and `b_`, but for `class`, `outcome`, `copy`.
    """
    a, pair = subject.a, subject.b is not None
    names = subject.classes.to_numpy(dtype=object)
    frames = {side: model.frame() for side, model in subject.sides.items()}
    prefix = {side: f"{side}_" if pair else "" for side in frames}
    columns = {"class": names[a.labels]}
    columns |= {f"{prefix[s]}predicted": names[subject.sides[s].predicted] for s in frames}
    columns["outcome"] = outcomes(subject)
    for name in ("confidence", "p_true"):
        columns |= {f"{prefix[s]}{name}": frames[s][name].to_numpy() for s in frames}
    columns["copy"] = subject.copies
    histories, _ = subject.histories
    for side, history in histories.items():
        columns |= {f"{prefix[side]}{name}": history.table[name].array for name in LEARNT}
    return pd.DataFrame(columns, index=pd.Index(a.sample_ids, name="sample_id", dtype=object))


def outcomes(subject: Subject) -> np.ndarray:
    """(N,) text: "right" or "wrong"; of two models who is, as in `frviz.embed_pair`."""
    if subject.b is None:
        return np.where(subject.a.correct, "right", "wrong").astype(object)
    right_a, right_b = subject.a.correct, subject.b.correct
    place = np.select([right_a & right_b, ~right_a & right_b, right_a & ~right_b], [0, 1, 2], 3)
    return np.array(OUTCOMES, dtype=object)[place]
