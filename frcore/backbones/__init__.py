"""Backbones behind one contract; `create_backbone("ctrgcn", skeleton="ntu25", ...)` builds one."""

from frcore.backbones import (  # noqa: F401  (each registers itself)
    aagcn,
    ctrgcn,
    hdgcn,
    msg3d,
    shiftgcn,
    stgcn,
    stgcn_2018,
    tcagcn,
)
from frcore.backbones.base import (
    Backbone,
    StageInfo,
    create_backbone,
    list_backbones,
    register_backbone,
)

__all__ = ["Backbone", "StageInfo", "create_backbone", "list_backbones", "register_backbone"]
