"""See which actions a skeleton recogniser confuses, why, and whether a change really helped.

    import frcore, frviz

    run = frcore.fit("synthetic_tiny_frhead", live=frviz.live())  # curves while it trains
    frviz.confusion(run)                                          # tables are DataFrames
    frviz.compare("runs/synthetic_tiny", run)                     # did it help, where, by chance?
    frviz.explore("runs/synthetic_tiny", run)                     # linked views; skeletons play

Works from tables and arrays; needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time __getattr__ does it
    from frviz import figures
    from frviz.comparison import Comparison, compare
    from frviz.exploration import explore
    from frviz.explorer.player import play
    from frviz.explorer.widget import Explorer
    from frviz.live_view import live
    from frviz.tables.calibration import calibration, calibration_history, calibration_shift
    from frviz.tables.clusters import class_clusters, collapse_confusion
    from frviz.tables.confusion import confusion, per_class, top_confusions, top_k_accuracy
    from frviz.tables.embedding import embed, embed_pair
    from frviz.tables.groups import ambiguous_groups, choose_anchors, difficulty_levels
    from frviz.tables.learning import learning_curves, learning_history
    from frviz.tables.quality import compactness, map_quality, neighbourhood_overlap
    from frviz.tables.reliability import fit_temperature, reliability

_SUBMODULES = ("figures",)
_HOME = {  # public name -> the module that defines it
    "compare": "frviz.comparison",
    "Comparison": "frviz.comparison",
    "explore": "frviz.exploration",
    "Explorer": "frviz.explorer.widget",
    "play": "frviz.explorer.player",
    "confusion": "frviz.tables.confusion",
    "per_class": "frviz.tables.confusion",
    "top_confusions": "frviz.tables.confusion",
    "top_k_accuracy": "frviz.tables.confusion",
    "ambiguous_groups": "frviz.tables.groups",
    "choose_anchors": "frviz.tables.groups",
    "difficulty_levels": "frviz.tables.groups",
    "class_clusters": "frviz.tables.clusters",
    "collapse_confusion": "frviz.tables.clusters",
    "embed": "frviz.tables.embedding",
    "embed_pair": "frviz.tables.embedding",
    "map_quality": "frviz.tables.quality",
    "compactness": "frviz.tables.quality",
    "neighbourhood_overlap": "frviz.tables.quality",
    "calibration": "frviz.tables.calibration",
    "calibration_shift": "frviz.tables.calibration",
    "calibration_history": "frviz.tables.calibration",
    "learning_history": "frviz.tables.learning",
    "learning_curves": "frviz.tables.learning",
    "reliability": "frviz.tables.reliability",
    "fit_temperature": "frviz.tables.reliability",
    "live": "frviz.live_view",
}

__all__ = [
    "compare",
    "Comparison",
    "explore",
    "Explorer",
    "play",
    "confusion",
    "per_class",
    "top_confusions",
    "top_k_accuracy",
    "ambiguous_groups",
    "choose_anchors",
    "difficulty_levels",
    "class_clusters",
    "collapse_confusion",
    "embed",
    "embed_pair",
    "map_quality",
    "compactness",
    "neighbourhood_overlap",
    "calibration",
    "calibration_shift",
    "calibration_history",
    "learning_history",
    "learning_curves",
    "reliability",
    "fit_temperature",
    "live",
    "figures",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"frviz.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'frviz' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
