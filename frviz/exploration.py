"""`frviz.explore`: what one model or two confuse, as linked views."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from frcore.errors import UserError
from frviz.comparison import compare
from frviz.explorer.maps import FirstMap
from frviz.explorer.subject import one_model
from frviz.explorer.widget import Explorer, open_explorer
from frviz.sources import Source, whole_seed

if TYPE_CHECKING:
    from frcore.data.store import Store


def explore(
    a: Source | Sequence[Source],
    b: Source | Sequence[Source] | None = None,
    *,
    names: str | Sequence[str] | None = None,
    space: str = "backbone",
    method: FirstMap = "auto",
    maps: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    data: "Store | str | Path | None" = None,
    reference: Source | Sequence[Source] | None = None,
    seed: int = 0,
) -> Explorer:
    """The explorer of one model, or of two over the same clips: a widget that a cell ends with.

    Hard predictions are enough; what they lack (scores, features, clips, a training history) leaves
    the views out that need it, and a line says why.

    Args:
        a: a run, its directory, a checkpoint, predictions or their file.
        b: another one over the same clips; then both may be lists of runs (seeds), of which groups
            and tests are made, and the first ones are shown.
        names: how they are called.
        space: of the first map, "backbone" or a head's branch such as "fin.spatial".
        method: of the first map, as in `frviz.embed`; "none": no map until one is asked for.
        maps: instead of these two, what `frviz.embed` (of A alone) or `frviz.embed_pair` made.
        data: the store of the clips, its folder or name; by default the one that the predictions
            were made on.
        reference: whose confusions make the ambiguous groups, as in `frviz.compare`; of one model
            by default its own on these clips.
        seed: of maps, intervals and halves.

    Raises:
        UserError: a source that cannot be read; other clips in A and B; no such space, method,
            store or seed.

    Example:
        >>> explorer = frviz.explore("runs/base", "runs/fr")
        >>> explorer.selected  # a DataFrame of what was chosen in the page
    """
    if b is not None:
        found = compare(a, b, names=names, reference=reference, seed=seed)
        return found.explore(space=space, method=method, maps=maps, data=data)
    if isinstance(a, list | tuple):
        raise UserError(
            "One model is one run: explore(run). Lists of runs (seeds) are compared: "
            "explore([a1, a2], [b1, b2])."
        )
    if isinstance(reference, list | tuple):
        raise UserError("reference: one run judges one model; lists of runs (seeds) judge two.")
    seed = whole_seed(seed)
    subject = one_model(a, name=names, space=space, reference=reference, data=data)
    return open_explorer(subject, space=space, method=method, maps=maps, seed=seed)
