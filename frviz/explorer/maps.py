"""The explorer's maps: which can be made, and their places as 16-bit numbers."""

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from frcore.errors import UserError, unknown_name
from frviz.explorer.subject import Subject
from frviz.tables.embedding import embed, embed_pair
from frviz.tables.layout import METHODS, choose_method, content_of

FirstMap = Literal["auto", "tsne", "umap", "pacmap", "pca", "none"]

STEPS = 65535  # of a side of the map
LABELS = {"tsne": "t-SNE", "umap": "UMAP", "pacmap": "PaCMAP", "pca": "PCA"}


def map_choices(subject: Subject) -> list[dict[str, str]]:
    """Every map that can be asked for: a space and a method."""
    methods = [m for m in METHODS if m not in ("auto", "pacmap")]
    methods += ["pacmap"] if importlib.util.find_spec("pacmap") else []
    spaces = subject.spaces if len(subject.a) else []
    return [{"space": space, "method": method} for space in spaces for method in methods]


def why_no_maps(subject: Subject) -> str:
    """What is missing, or "" where maps can be made."""
    if map_choices(subject):
        return ""
    if not len(subject.a):
        return "There are no clips."
    models = subject.sides.values()
    if all(model.features for model in models):
        spaces = (", ".join(model.features) for model in models)
        return f"No space in common, so no maps: A has {next(spaces)}; B has {next(spaces)}."
    bare = next(model for model in models if not model.features)
    if bare.logits is None:
        return "These are hard predictions: no features, so no maps."
    if bare.metadata.get("source"):
        return "Published scores hold no features, so there are no maps."
    return "These predictions hold no features, so there are no maps."


def make_map(subject: Subject, *, space: str, method: str, seed: int = 0) -> pd.DataFrame:
    """A map of one model, or of two in one layout.

    Args:
        subject: its features are laid out.
        space: one of `subject.spaces`.
        method: as in `frviz.embed`.
        seed: of the layout.

    Raises:
        UserError: no such space or method.
    """
    if space not in subject.spaces:
        raise unknown_name("space", space, subject.spaces or ["none"])
    if subject.b is None:
        return embed(subject.a, space=space, method=method, seed=seed)
    return embed_pair(subject.a, subject.b, space=space, method=method, seed=seed)


def first_maps(
    subject: Subject,
    *,
    space: str = "backbone",
    method: FirstMap = "auto",
    maps: pd.DataFrame | Sequence[pd.DataFrame] | None = None,
    seed: int = 0,
) -> list[pd.DataFrame]:
    """The maps that an explorer begins with: those given, else one; none where there can be none.

    Raises:
        UserError: maps of something else, an unknown method or space.
    """
    if maps is not None:
        return check_maps(subject, maps)
    if method == "none":
        return []
    if method not in METHODS:  # said also where there is no map
        raise unknown_name("method", method, get_args(FirstMap))
    choose_method(method, len(subject.a))  # PaCMAP may be missing
    if not subject.spaces or not len(subject.a):
        return []
    if space == "backbone" and space not in subject.spaces:
        space = subject.spaces[0]
    return [make_map(subject, space=space, method=method, seed=seed)]


def check_maps(subject: Subject, maps: pd.DataFrame | Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Maps that were made before, if they show these models and all of their clips.

    Raises:
        UserError: they show something else.
    """
    tables = list(maps) if isinstance(maps, list | tuple) else [maps]
    for table in tables:
        space = getattr(table, "attrs", {}).get("space")
        if space not in subject.spaces:
            raise UserError(
                "maps: expected what frviz.embed made of this model, or frviz.embed_pair of both."
            )
        models = subject.with_space(space).sides.values()
        content = tuple(content_of(model, space) for model in models)
        clips = table.index[table["kind"] == "clip"]
        if tuple(table.attrs.get("content", ())) != content or list(clips) != list(
            subject.a.sample_ids
        ):
            raise UserError(
                "maps: they show other models or not all of their clips; make them with "
                + ("frviz.embed(a)." if subject.b is None else "frviz.embed_pair(a, b).")
            )
    return tables


def key_of(table: pd.DataFrame) -> str:
    """ "backbone/tsne"."""
    return f"{table.attrs['space']}/{table.attrs['method']}"


def encode_map(
    subject: Subject, table: pd.DataFrame, number: int = 0
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A map for a payload.

    Args:
        subject: whose map it is.
        table: from `make_map`.
        number: in the names of its arrays.

    Returns:
        Its entry of `header["maps"]` and its arrays: places (N, 2) of clips and (S, 2) of stars,
        uint16 within the map's bounds.
    """
    # a centre that one model lacks is left out of both maps: they share their list of stars
    table = table.dropna(subset=[name for side in subject.sides for name in _columns(table, side)])
    clips = (table["kind"] == "clip").to_numpy()
    places = {side: table[_columns(table, side)].to_numpy(np.float64) for side in subject.sides}
    low = np.min([p.min(axis=0, initial=np.inf) for p in places.values()], axis=0)
    high = np.max([p.max(axis=0, initial=-np.inf) for p in places.values()], axis=0)
    size = np.where(high > low, high - low, 1)
    steps = {
        side: np.rint((place - low) / size * STEPS).astype(np.uint16)
        for side, place in places.items()
    }
    stars = table[~clips]
    entry = {
        "key": key_of(table),
        "space": table.attrs["space"],
        "method": table.attrs["method"],
        "note": _note(subject, table),
        "displacement": table.attrs.get("displacement"),
        "floor": table.attrs.get("floor"),
        "arrays": {
            **{side: f"map{number}_{side}" for side in steps},
            "bounds": [*low.tolist(), *(low + size).tolist()],
        },
        "stars": {
            "classes": [subject.class_number[name] for name in stars["class"]],
            **{side: f"star{number}_{side}" for side in steps},
            "kind": stars["kind"].iloc[0] if len(stars) else "prototype",
        },
    }
    arrays = {}
    for side, step in steps.items():
        arrays[f"map{number}_{side}"] = step[clips]
        arrays[f"star{number}_{side}"] = step[~clips]
    return entry, arrays


def _columns(table: pd.DataFrame, side: str) -> list[str]:
    return ["x", "y"] if "x" in table else [f"{side}_x", f"{side}_y"]


def _note(subject: Subject, table: pd.DataFrame) -> str:
    method = LABELS.get(table.attrs["method"], table.attrs["method"])
    made = f"{method} of the {table.attrs['space']} features, seed {table.attrs['seed']}"
    if subject.b is None:
        return made
    start = "a map of both together" if table.attrs.get("symmetric") else "A's map"
    return f"{made}; {'both start' if table.attrs.get('symmetric') else 'B starts'} from {start}"
