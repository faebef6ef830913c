"""What came out of a comparison, in plain words."""

import pandas as pd

from frviz.tables.paired import Paired
from frviz.tables.shown import percent, points
from frviz.tables.statistics import shown_p

ALPHA = 0.05
NAMED = 5  # classes that are named


def in_words(
    paired: Paired, names: tuple[str, str], summary: pd.DataFrame, classes: pd.DataFrame
) -> str:
    """The verdict: what changed, whether chance explains it, which classes, what to mind.

    Args:
        paired: both models.
        names: of A and B.
        summary: from `tables.comparison.summary`.
        classes: from `tables.comparison.class_changes`.
    """
    row = summary.loc["top-1"]
    if not row["clips"]:
        return "There are no clips to compare."
    said = [
        f"{_changes(paired, names, row)}: {_outcome(paired, names, row)}.",
        f"Accuracy {percent(row['a'])} and {percent(row['b'])} %, a difference of "
        f"{points(row['difference'])} points (95 % interval {_limits(row)}).",
    ]
    if "top-1, unseen clips" in summary.index and summary.loc["top-1, unseen clips", "clips"]:
        unseen = summary.loc["top-1, unseen clips"]
        said.append(
            f"On the {unseen['clips']:g} clips that are no copy of a training clip: "
            f"{points(unseen['difference'])} points ({_limits(unseen)})."
        )
    return " ".join([*said, _classes(classes), *_warnings(paired, names)])


def _changes(paired: Paired, names: tuple[str, str], row: pd.Series) -> str:
    if paired.single:
        return f"{names[1]}: {row['fixed']:g} clips fixed, {row['broken']:g} broken"
    runs = f"{len(paired.a)} and {len(paired.b)} runs"
    return f"{names[1]} ({runs}): {row['fixed']:.1f} clips fixed, {row['broken']:.1f} broken"


def _outcome(paired: Paired, names: tuple[str, str], row: pd.Series) -> str:
    test = "exact McNemar test" if paired.single else "bootstrap over runs and clips"
    if row["p"] >= ALPHA:
        return f"not distinguishable from chance, {shown_p(row['p'])} ({test})"
    return f"{names[int(row['difference'] > 0)]} is better, {shown_p(row['p'])} ({test})"


def _limits(row: pd.Series) -> str:
    return f"{points(row['low'])} to {points(row['high'])}"


def _classes(classes: pd.DataFrame) -> str:
    changed = classes[classes["p_holm"] < ALPHA].sort_values("p", kind="stable")
    if not len(changed):
        return "No single class changed beyond chance (Holm)."
    listed = [f"{name} {points(d)}" for name, d in changed["difference"].head(NAMED).items()]
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return f"Classes that changed (Holm): {', '.join(listed)}{more}."


def _warnings(paired: Paired, names: tuple[str, str]) -> list[str]:
    said = []
    if min(len(paired.a), len(paired.b)) == 1:
        said.append("With one run of a model, differences between its seeds are not in it.")
    for name, runs in zip(names, (paired.a, paired.b), strict=True):
        if any(run.metadata.get("select") == "test_best" for run in runs):
            said.append(f"The epoch of {name} was selected on test: its accuracy is flattered.")
    kept = {run.metadata.get("duplicates") for run in (*paired.a, *paired.b)} - {None}
    if paired.copies.any() and len(kept) > 1:
        said.append("One model was trained on copies of test clips and the other was not.")
    return said
