"""What came out of a comparison, in plain words."""

import pandas as pd

from frviz.sources import best_on_test
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
        f"{_changes(paired, names, row)}; {_outcome(paired, row)}.",
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
    """ "FR Head against plain: 79 clips fixed, 34 broken": reads well whatever the names are."""
    a, b = names
    if paired.single:
        fixed, broken = f"{row['fixed']:g}", f"{row['broken']:g}"
    else:
        fixed, broken = f"{row['fixed']:.1f}", f"{row['broken']:.1f}"
        a, b = (
            f"{name} ({len(runs)} run{'s' if len(runs) > 1 else ''})"
            for name, runs in zip(names, (paired.a, paired.b), strict=True)
        )
    return f"{b} against {a}: {fixed} clip{'' if fixed == '1' else 's'} fixed, {broken} broken"


def _outcome(paired: Paired, row: pd.Series) -> str:
    test = "exact McNemar test" if paired.single else "bootstrap over runs and clips"
    if row["p"] >= ALPHA:
        said = "not distinguishable from chance"
    else:
        said = f"a {'gain' if row['difference'] > 0 else 'loss'} beyond chance"
    return f"{said}, {shown_p(row['p'])} ({test})"


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
        if best_on_test(*runs):
            said.append(f"The accuracy of {name} is flattered: its epoch was selected on test.")
    presets = [
        sorted({str(run.metadata["preset"]) for run in runs if run.metadata.get("preset")})
        for runs in (paired.a, paired.b)
    ]
    if all(presets) and presets[0] != presets[1]:
        (a, b), (of_a, of_b) = names, map(" and ".join, presets)
        said.append(f"Their clips were prepared by other presets: {a} by {of_a}, {b} by {of_b}.")
    kept = {run.metadata.get("duplicates") for run in (*paired.a, *paired.b)} - {None}
    if paired.copies.any() and len(kept) > 1:
        said.append("One model was trained on copies of test clips and the other was not.")
    return said
