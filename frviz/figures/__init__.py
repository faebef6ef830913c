"""Plotly figures, one a function, each from a table or an array. Lazy, and without torch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time __getattr__ does it
    from frviz.figures.charts import bars, curves, heatmaps
    from frviz.figures.clips import clip_lengths, clip_strip
    from frviz.figures.comparison import class_slopes, differences, groups, level_table
    from frviz.figures.learning import calibration_history, calibration_shift, learning_history
    from frviz.figures.maps import embedding, embedding_pair
    from frviz.figures.matrices import confusion, confusion_difference
    from frviz.figures.probabilities import reliability
    from frviz.figures.training import training_curves

_HOME = {  # public name -> the module that defines it
    "bars": "frviz.figures.charts",
    "curves": "frviz.figures.charts",
    "heatmaps": "frviz.figures.charts",
    "clip_lengths": "frviz.figures.clips",
    "clip_strip": "frviz.figures.clips",
    "confusion": "frviz.figures.matrices",
    "confusion_difference": "frviz.figures.matrices",
    "class_slopes": "frviz.figures.comparison",
    "differences": "frviz.figures.comparison",
    "groups": "frviz.figures.comparison",
    "level_table": "frviz.figures.comparison",
    "embedding": "frviz.figures.maps",
    "embedding_pair": "frviz.figures.maps",
    "calibration_history": "frviz.figures.learning",
    "calibration_shift": "frviz.figures.learning",
    "learning_history": "frviz.figures.learning",
    "reliability": "frviz.figures.probabilities",
    "training_curves": "frviz.figures.training",
}

__all__ = [
    "bars",
    "calibration_history",
    "calibration_shift",
    "class_slopes",
    "clip_lengths",
    "clip_strip",
    "confusion",
    "confusion_difference",
    "curves",
    "differences",
    "embedding",
    "embedding_pair",
    "groups",
    "heatmaps",
    "learning_history",
    "level_table",
    "reliability",
    "training_curves",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
