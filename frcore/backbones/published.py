"""Published checkpoints: key names and layouts translated to ours, every key accounted for."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def from_ctrgcn(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], set[str]]:
    """A published CTR-GCN state dict (BACKBONES 1.5 names) as ours.

    The published model keeps three subsets and four temporal branches as separate modules; ours
    stores what runs together as one tensor, so weights are concatenated here.

    Returns:
        Our state dict ("backbone.*", "classifier.*") and the published keys it came from.
    """
    used: set[str] = set()

    def take(key: str) -> Tensor:
        used.add(key)
        return state[key]

    def merge(keys: list[str], leaf: str) -> Tensor:
        parts = [take(f"{key}.{leaf}") for key in keys]
        return parts[0] if leaf == "num_batches_tracked" else torch.cat(parts)

    ours: dict[str, Tensor] = {f"backbone.input_norm.norm.{x}": take(f"data_bn.{x}") for x in _NORM}
    ours |= {f"classifier.{x}": take(f"fc.{x}") for x in ("weight", "bias")}
    blocks = sorted({int(m[1]) for key in state if (m := re.match(r"l(\d+)\.", key))})
    for number in blocks:
        theirs, block = f"l{number}", f"backbone.blocks.{number - 1}"
        subsets = [f"{theirs}.gcn1.convs.{k}" for k in range(3)]
        branches = [f"{theirs}.tcn1.branches.{k}" for k in range(4)]
        ours[f"{block}.graph.conv.adjacency"] = take(f"{theirs}.gcn1.PA")
        ours[f"{block}.graph.conv.alpha"] = take(f"{theirs}.gcn1.alpha")
        pair = [f"{s}.conv1" for s in subsets] + [f"{s}.conv2" for s in subsets]
        for x in ("weight", "bias"):
            merged = merge(pair, x)
            ours[f"{block}.graph.conv.pair.{x}"] = merged.squeeze(-1) if x == "weight" else merged
            ours[f"{block}.graph.conv.value.{x}"] = merge([f"{s}.conv3" for s in subsets], x)
            ours[f"{block}.graph.conv.expand.{x}"] = merge([f"{s}.conv4" for s in subsets], x)
            ours[f"{block}.temporal.entry.{x}"] = merge([f"{b}.0" for b in branches[:3]], x)
            for k in range(2):
                conv = take(f"{branches[k]}.3.conv.{x}")  # ours runs along the last axis
                ours[f"{block}.temporal.dilated.{k}.{x}"] = conv.mT if x == "weight" else conv
            ours[f"{block}.temporal.skip.{x}"] = take(f"{branches[3]}.0.{x}")
        closing = [
            f"{branches[0]}.3.bn",
            f"{branches[1]}.3.bn",
            f"{branches[2]}.4",
            f"{branches[3]}.1",
        ]
        for x in _NORM:
            ours[f"{block}.graph.norm.{x}"] = take(f"{theirs}.gcn1.bn.{x}")
            ours[f"{block}.temporal.entry_norm.{x}"] = merge([f"{b}.1" for b in branches[:3]], x)
            ours[f"{block}.temporal.norm.{x}"] = merge(closing, x)
        for skip, conv, norm in (
            ("graph.skip", "gcn1.down.0", "gcn1.down.1"),
            ("residual", "residual.conv", "residual.bn"),
        ):
            if f"{theirs}.{conv}.weight" in state:
                ours |= {
                    f"{block}.{skip}.0.{x}": take(f"{theirs}.{conv}.{x}")
                    for x in ("weight", "bias")
                }
                ours |= {f"{block}.{skip}.1.{x}": take(f"{theirs}.{norm}.{x}") for x in _NORM}
    return ours, used
