"""Train skeleton action recognisers with the Feature Refinement Head (Zhou, Liu, Wang, CVPR 2023).

    import frcore

    run = frcore.fit("synthetic_tiny_frhead")  # a recipe's name, a RunConfig or a YAML file
    predictions = frcore.predict(run, split="test")
    print(run.metrics.tail(), predictions.accuracy())
    predictions.frame().to_csv("predictions.csv")

Public names are imported when first used, so `import frcore` costs nothing and needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time __getattr__ does it
    from frcore import data, fr_head
    from frcore.backbones import create_backbone, list_backbones, register_backbone
    from frcore.callbacks import TensorBoard
    from frcore.config import RunConfig, load_recipe
    from frcore.data.benchmarks import ensemble_weights
    from frcore.errors import UserError
    from frcore.importing import import_weights
    from frcore.inference import load_recognizer, predict
    from frcore.predictions import Predictions
    from frcore.published import from_published
    from frcore.recipe_files import list_recipes
    from frcore.recognizer import Recognizer
    from frcore.run import Run
    from frcore.scores import read_scores
    from frcore.skeleton import COCO17, NTU25, UCLA20, Skeleton, get_skeleton
    from frcore.sweep.running import run_sweep
    from frcore.train import fit

__version__ = "0.1.0"

_SUBMODULES = ("data", "fr_head")
_HOME = {  # public name -> the module that defines it
    "fit": "frcore.train",
    "predict": "frcore.inference",
    "run_sweep": "frcore.sweep.running",
    "load_recognizer": "frcore.inference",
    "from_published": "frcore.published",
    "import_weights": "frcore.importing",
    "Recognizer": "frcore.recognizer",
    "create_backbone": "frcore.backbones",
    "list_backbones": "frcore.backbones",
    "register_backbone": "frcore.backbones",
    "RunConfig": "frcore.config",
    "load_recipe": "frcore.config",
    "list_recipes": "frcore.recipe_files",
    "Run": "frcore.run",
    "TensorBoard": "frcore.callbacks",
    "Predictions": "frcore.predictions",
    "read_scores": "frcore.scores",
    "ensemble_weights": "frcore.data.benchmarks",
    "Skeleton": "frcore.skeleton",
    "NTU25": "frcore.skeleton",
    "UCLA20": "frcore.skeleton",
    "COCO17": "frcore.skeleton",
    "get_skeleton": "frcore.skeleton",
    "UserError": "frcore.errors",
}

__all__ = [
    "fit",
    "predict",
    "run_sweep",
    "load_recognizer",
    "from_published",
    "import_weights",
    "Recognizer",
    "create_backbone",
    "list_backbones",
    "register_backbone",
    "RunConfig",
    "load_recipe",
    "list_recipes",
    "Run",
    "TensorBoard",
    "Predictions",
    "read_scores",
    "ensemble_weights",
    "Skeleton",
    "NTU25",
    "UCLA20",
    "COCO17",
    "get_skeleton",
    "UserError",
    "data",
    "fr_head",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"frcore.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'frcore' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # the next look-up does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
