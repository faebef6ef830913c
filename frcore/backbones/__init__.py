"""Backbones behind one contract; `create_backbone("ctrgcn", skeleton="ntu25", ...)` builds one."""

from frcore.backbones import ctrgcn  # noqa: F401  (registers itself)
from frcore.backbones.base import (
    Backbone,
    StageInfo,
    create_backbone,
    list_backbones,
    register_backbone,
)

__all__ = ["Backbone", "StageInfo", "create_backbone", "list_backbones", "register_backbone"]
