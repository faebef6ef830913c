"""See which actions a skeleton recogniser confuses, why, and whether a change really helped.

    import frcore, frviz

    run = frcore.fit("synthetic_tiny_frhead", live=frviz.live())  # curves while it trains

Works from tables and arrays; needs no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors and type checkers; at run time __getattr__ does it
    from frviz import figures
    from frviz.live_view import live

_SUBMODULES = ("figures",)
_HOME = {"live": "frviz.live_view"}  # public name -> the module that defines it

__all__ = ["figures", "live"]


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
