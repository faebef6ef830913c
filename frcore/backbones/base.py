"""The contract of all backbones, and their registry.

A backbone maps clips to a tuple of stage maps, one a block, in order. Whoever looks inside (FR
Head, the analysis) asks `stage_info` for channels, frames and joints: nothing assumes 25 joints,
2 persons or 4 stages.
"""

import fnmatch
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from frcore.errors import UserError, unknown_name
from frcore.shapes import check_shape
from frcore.skeleton import Skeleton, get_skeleton


@dataclass(frozen=True)
class StageInfo:
    """What one stage map looks like: (N*M, channels, frames, joints)."""

    name: str
    channels: int
    frames: int
    joints: int


class Backbone(nn.Module):
    """Base class: maps (N, C, T, V, M) clips to stage maps (N*M, C', T', V').

    Subclasses set `stage_info` (a `StageInfo` a stage) and implement `forward_stages`.
    """

    stage_info: tuple[StageInfo, ...]

    def __init__(
        self, skeleton: Skeleton, *, num_persons: int, num_frames: int, in_channels: int
    ) -> None:
        super().__init__()
        sizes = {"num_persons": num_persons, "num_frames": num_frames, "in_channels": in_channels}
        for name, value in sizes.items():
            if not isinstance(value, Integral) or value < 1:
                raise UserError(f"{name} must be a whole number from 1, not {value!r}.")
        self.skeleton = skeleton
        self.num_persons = num_persons
        self.num_frames = num_frames
        self.in_channels = in_channels

    @property
    def num_features(self) -> int:
        """Width of the last stage, and so of the embedding."""
        return self.stage_info[-1].channels

    def forward_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        """Stage maps (N*M, C', T', V') of clips (N, C, T, V, M), in order of depth."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """`forward_stages` after a check of the input's axes."""
        check_shape(
            x,
            "N C T V M",
            name="clips",
            C=self.in_channels,
            V=self.skeleton.num_joints,
            M=self.num_persons,
        )
        return self.forward_stages(x)


_REGISTRY: dict[str, Callable[..., Backbone]] = {}


def register_backbone(build: Callable[..., Backbone]) -> Callable[..., Backbone]:
    """Registers `build(skeleton, *, num_persons, num_frames, **overrides)` under its name.

    What it takes is read from its own keywords or, where it passes them on, from the class that its
    return annotation names.
    """
    if build.__name__ in _REGISTRY:
        raise UserError(f"A backbone named '{build.__name__}' is registered already.")
    _REGISTRY[build.__name__] = build
    return build


def list_backbones(pattern: str = "*") -> list[str]:
    """Names of the registered backbones that match a shell pattern, e.g. "*gcn*"."""
    return sorted(fnmatch.filter(_REGISTRY, pattern))


def create_backbone(
    name: str,
    *,
    skeleton: str | Skeleton,
    num_persons: int,
    num_frames: int,
    **overrides: Any,
) -> Backbone:
    """Builds a registered backbone.

    Args:
        name: e.g. "ctrgcn"; `list_backbones()` has them all.
        skeleton: "ntu25", "ucla20", "coco17" or a `Skeleton`.
        num_persons: M, persons a clip.
        num_frames: T, frames a clip; decides the frames that `stage_info` promises.
        **overrides: the family's own arguments, e.g. `width=32`.

    Raises:
        UserError: for an unknown name or override, with the choices.
    """
    if name not in _REGISTRY:
        if str(name).casefold() in ("2s-agcn", "2sagcn", "2s_agcn", "agcn"):
            raise UserError(
                f"Unknown backbone '{name}'. The paper's 2s-AGCN is 'aagcn'; attention=False makes "
                f"it plain. Available: {', '.join(list_backbones())}."
            )
        raise unknown_name("backbone", name, list_backbones())
    build = _REGISTRY[name]
    known = _overrides(build)
    for override in overrides:
        if known is not None and override not in known:
            raise unknown_name(f"override of backbone '{name}':", override, known)
    return build(
        get_skeleton(skeleton), num_persons=num_persons, num_frames=num_frames, **overrides
    )


def _overrides(build: Callable[..., Backbone]) -> list[str] | None:
    """Names of the family's own arguments; None where its signature does not say.

    Whoever takes `**keywords` passes them on: a function to the class that it returns, a class to
    its parent.
    """
    made = inspect.get_annotations(build).get("return")
    names: list[str] = []
    for maker in (build, *(made.__mro__ if isinstance(made, type) else ())):
        if isinstance(maker, type) and "__init__" not in vars(maker):
            continue
        parameters = inspect.signature(maker).parameters.values()
        names += [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in names]
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return [n for n in names if n not in ("num_persons", "num_frames")]
    return None
