"""How published state dicts name and store what ours hold: one table of names a family.

The published models keep subsets, branches and layers as modules of their own; ours store what runs
together as one tensor, so weights are joined here. Ours run along time as the last axis, so
convolutions (C', C, k, 1) become (C', C, 1, k).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class Layout(NamedTuple):
    """How published tensors become one of ours, and one of ours those that it is made of."""

    join: Callable[[Sequence[Tensor]], Tensor]
    split: Callable[[Tensor, int], Sequence[Tensor]]  # ours, number of published ones


SAME = Layout(lambda parts: parts[0], lambda ours, n: [ours])
CONV = Layout(lambda parts: torch.cat(parts).mT, lambda ours, n: ours.mT.chunk(n))
CONV_1D = Layout(
    lambda parts: torch.cat(parts).squeeze(-1), lambda ours, n: ours.unsqueeze(-1).chunk(n)
)
VECTOR = Layout(torch.cat, lambda ours, n: ours.chunk(n))
COUNT = Layout(lambda parts: parts[0], lambda ours, n: [ours] * n)  # batches that a norm has seen
SUBSETS = Layout(  # (C', C, S) of S times (C', C, 1, 1)
    lambda parts: torch.stack(parts, dim=2)[..., 0, 0],
    lambda ours, n: ours[..., None, None].unbind(2),
)
STACKED = Layout(torch.stack, lambda ours, n: ours.unbind())
EDGES = Layout(  # (L, q, 2q) of L times (q, 2q, 1, 1)
    lambda parts: torch.stack(parts).flatten(2), lambda ours, n: ours[..., None, None].unbind()
)
MAP_BIAS = Layout(lambda parts: parts[0].flatten(), lambda ours, n: [ours.view(1, -1, 1, 1)])


def _patterns(keys: Iterable[str]) -> str:
    """The modules of keys, each once, with the numbers of layers as *."""
    modules = (key.rpartition(".")[0] for key in keys)
    return ", ".join(dict.fromkeys(re.sub(r"(?<![^.])l?\d+(?![^.])", "*", m) for m in modules))


@dataclass(frozen=True)
class Translation:
    """A published state dict as ours.

    Attributes:
        ours: our state dict.
        used: the published keys that it came from.
        ignored: published keys that hold nothing of the network, and why.
    """

    ours: dict[str, Tensor]
    used: set[str]
    ignored: dict[str, str]

    def ignored_by_reason(self) -> list[str]:
        """A line a reason: how many keys, of which modules, and why."""
        reasons: dict[str, list[str]] = {}
        for key, why in self.ignored.items():
            reasons.setdefault(why, []).append(key)
        return [
            f"Ignored {len(keys):,} key{'s' * (len(keys) > 1)} ({_patterns(keys)}): {why}."
            for why, keys in reasons.items()
        ]


class Names:
    """Which published tensors make each of ours.

    Args:
        ours: the model's state dict; its keys say which optional parts there are.

    Attributes:
        sources: our key -> the published keys, and how they are stored as one tensor.
        rules: pattern of published keys that hold nothing of the network -> why.
    """

    def __init__(self, ours: Mapping[str, Tensor]) -> None:
        self.ours = ours
        self.sources: dict[str, tuple[tuple[str, ...], Layout]] = {}
        self.rules: dict[str, str] = {}

    def expected(self) -> dict[str, Tensor]:
        """Published keys and tensors of the shapes that they have; views of ours."""
        found = {}
        for ours, (theirs, layout) in self.sources.items():
            parts = layout.split(self.ours[ours], len(theirs))
            found |= dict(zip(theirs, parts, strict=True))
        return found

    def ignored(self, keys: Iterable[str]) -> dict[str, str]:
        """Those of the keys that hold nothing of the network, and why."""
        return {k: why for k in keys for rule, why in self.rules.items() if re.fullmatch(rule, k)}

    def translate(self, state: Mapping[str, Tensor]) -> Translation:
        """A state dict that has all the `expected` keys, in their shapes, as ours."""
        with torch.no_grad():
            ours = {
                key: layout.join([state[name] for name in theirs])
                for key, (theirs, layout) in self.sources.items()
            }
        used = {name for theirs, _ in self.sources.values() for name in theirs}
        return Translation(ours, used, self.ignored(state))

    def put(self, ours: str, theirs: Sequence[str], layout: Layout = SAME) -> None:
        """One of our tensors."""
        self.sources[ours] = tuple(theirs), layout

    def norm(self, ours: str, *theirs: str) -> None:
        """Batch norms side by side, as one."""
        for leaf in _NORM:
            layout = COUNT if leaf == "num_batches_tracked" else VECTOR
            self.put(f"{ours}.{leaf}", [f"{key}.{leaf}" for key in theirs], layout)

    def conv(self, ours: str, *theirs: str) -> None:
        """Convolutions side by side, as one over maps or along one axis."""
        layout = CONV if self.ours[f"{ours}.weight"].dim() == 4 else CONV_1D
        self.put(f"{ours}.weight", [f"{key}.weight" for key in theirs], layout)
        if f"{ours}.bias" in self.ours:
            self.put(f"{ours}.bias", [f"{key}.bias" for key in theirs], VECTOR)

    def linear(self, ours: str, theirs: str) -> None:
        """A layer whose weight and bias are stored as they are here."""
        for leaf in ("weight", "bias"):
            self.put(f"{ours}.{leaf}", [f"{theirs}.{leaf}"])

    def skip(self, ours: str, conv: str, norm: str) -> None:
        """A projection on a skip path, where there is one."""
        if f"{ours}.0.weight" in self.ours:
            self.conv(f"{ours}.0", conv)
            self.norm(f"{ours}.1", norm)


# Names the units of a block: published prefix, our prefix.
Unit = Callable[[Names, str, str], None]


def _frame(ours: Mapping[str, Tensor], graph: Unit, temporal: Unit) -> Names:
    """The frame that all families share, with a family's units in its blocks."""
    names = Names(ours)
    names.norm("backbone.input_norm.norm", "data_bn")
    names.linear("classifier", "fc")
    blocks = {int(m[1]) for key in ours if (m := re.match(r"backbone\.blocks\.(\d+)\.", key))}
    for block in sorted(blocks):
        theirs, here = f"l{block + 1}", f"backbone.blocks.{block}"
        graph(names, f"{theirs}.gcn1", f"{here}.graph")
        temporal(names, f"{theirs}.tcn1", f"{here}.temporal")
        names.skip(f"{here}.residual", f"{theirs}.residual.conv", f"{theirs}.residual.bn")
    names.rules[r"ren_(low|mid|high|fin)\..*"] = "the FR Head's, whose prototypes were not saved"
    return names


def _graph_unit(names: Names, theirs: str, ours: str) -> None:
    """Norm and skip of a graph unit, and its learnt graph."""
    names.put(f"{ours}.conv.adjacency", [f"{theirs}.PA"])
    names.norm(f"{ours}.norm", f"{theirs}.bn")
    names.skip(f"{ours}.skip", f"{theirs}.down.0", f"{theirs}.down.1")


# ---- one temporal convolution: ST-GCN, AAGCN ---------------------------------------------------


def _one_conv(names: Names, theirs: str, ours: str) -> None:
    names.conv(f"{ours}.0", f"{theirs}.conv")
    names.norm(f"{ours}.1", f"{theirs}.bn")


def _subset_convs(names: Names, theirs: str, ours: str) -> None:
    _graph_unit(names, theirs, ours)
    convs = [f"{theirs}.conv_d.{k}" for k in range(3)]
    names.put(f"{ours}.conv.conv.weight", [f"{conv}.weight" for conv in convs], SUBSETS)
    names.put(f"{ours}.conv.conv.bias", [f"{conv}.bias" for conv in convs], STACKED)


def stgcn(ours: Mapping[str, Tensor]) -> Names:
    """The paper's ST-GCN."""
    return _frame(ours, _subset_convs, _one_conv)


def aagcn(ours: Mapping[str, Tensor]) -> Names:
    """AAGCN, with its attention or without."""
    gates = {"joints": "conv_sa", "frames": "conv_ta", "squeeze": "fc1c", "excite": "fc2c"}

    def graph(names: Names, theirs: str, ours: str) -> None:
        attention = f"{ours}.1.joints.weight" in names.ours
        unit = f"{ours}.0" if attention else ours
        _subset_convs(names, theirs, unit)
        names.put(f"{unit}.conv.alpha", [f"{theirs}.alpha"])
        names.conv(f"{unit}.conv.pair", *(f"{theirs}.conv_{x}.{k}" for x in "ab" for k in range(3)))
        for name, key in gates.items() if attention else ():
            names.linear(f"{ours}.1.{name}", f"{theirs}.{key}")

    return _frame(ours, graph, _one_conv)


# ---- four temporal branches: CTR-GCN, TCA-GCN, HD-GCN ------------------------------------------


def _four_branches(names: Names, theirs: str, ours: str) -> None:
    branches = [f"{theirs}.branches.{k}" for k in range(4)]
    names.conv(f"{ours}.entry", *(f"{branch}.0" for branch in branches[:3]))
    names.norm(f"{ours}.entry_norm", *(f"{branch}.1" for branch in branches[:3]))
    for k in range(2):
        names.conv(f"{ours}.dilated.{k}", f"{branches[k]}.3.conv")
    names.conv(f"{ours}.skip", f"{branches[3]}.0")
    closing = [f"{branches[0]}.3.bn", f"{branches[1]}.3.bn", f"{branches[2]}.4", f"{branches[3]}.1"]
    names.norm(f"{ours}.norm", *closing)


def _refined_topology(names: Names, theirs: str, ours: str) -> list[str]:
    """What CTR-GCN and TCA-GCN share; gives the published subsets."""
    _graph_unit(names, theirs, ours)
    subsets = [f"{theirs}.convs.{k}" for k in range(3)]
    names.put(f"{ours}.conv.alpha", [f"{theirs}.alpha"])
    pair = [f"{subset}.{conv}" for conv in ("conv1", "conv2") for subset in subsets]
    names.conv(f"{ours}.conv.pair", *pair)
    names.conv(f"{ours}.conv.expand", *(f"{subset}.conv4" for subset in subsets))
    return subsets


def ctrgcn(ours: Mapping[str, Tensor]) -> Names:
    """CTR-GCN."""

    def graph(names: Names, theirs: str, ours: str) -> None:
        subsets = _refined_topology(names, theirs, ours)
        names.conv(f"{ours}.conv.value", *(f"{subset}.conv3" for subset in subsets))

    return _frame(ours, graph, _four_branches)


def tcagcn(ours: Mapping[str, Tensor]) -> Names:
    """TCA-GCN; its `conv3` is never called."""

    def graph(names: Names, theirs: str, ours: str) -> None:
        subsets = _refined_topology(names, theirs, ours)
        names.conv(f"{ours}.conv.value", *(f"{subset}.conv" for subset in subsets))
        weights, routing = f"{ours}.conv.weights", [f"{subset}.conv_rf" for subset in subsets]
        names.conv(f"{weights}.context", *(f"{key}.g" for key in routing))
        names.conv(f"{weights}.enter", *(f"{key}.a" for key in routing))
        names.norm(f"{weights}.norm", *(f"{key}.bn" for key in routing))
        names.conv(f"{weights}.leave", *(f"{key}.b" for key in routing))

    def temporal(names: Names, theirs: str, ours: str) -> None:
        _four_branches(names, theirs, f"{ours}.0")
        for name, key, first in (("local", "local_att", 0), ("overall", "global_att", 1)):
            for layer in (0, 3):  # a convolution and its norm; the published pool comes first
                here, there = f"{ours}.1.{name}", f"{theirs}.af.{key}"
                names.conv(f"{here}.{layer}", f"{there}.{layer + first}")
                names.norm(f"{here}.{layer + 1}", f"{there}.{layer + first + 1}")

    names = _frame(ours, graph, temporal)
    names.rules[r"l\d+\.gcn1\.convs\.\d\.conv3\.(weight|bias)"] = "never called"
    return names


def hdgcn(ours: Mapping[str, Tensor]) -> Names:
    """HD-GCN; its `conv_d` is a second name of the last graph's layers."""

    def graph(names: Names, theirs: str, ours: str) -> None:
        _graph_unit(names, theirs, ours)
        conv, aha = f"{ours}.conv", f"{theirs}.aha"
        graphs = range(len(names.ours[f"{conv}.adjacency"]))
        names.conv(f"{conv}.down", *(f"{theirs}.conv_down.{n}.0" for n in graphs))
        names.norm(f"{conv}.down_norm", *(f"{theirs}.conv_down.{n}.1" for n in graphs))
        subsets = [f"{theirs}.conv.{n}.{k}" for n in graphs for k in range(3)]
        names.conv(f"{conv}.subsets", *(f"{key}.0" for key in subsets))
        names.norm(f"{conv}.norm", *(f"{key}.1" for key in subsets))
        edge_conv(names, [f"{theirs}.conv.{n}.3.conv" for n in graphs], f"{conv}.edges")
        if f"{conv}.attention.squeeze.weight" in names.ours:
            names.conv(f"{conv}.attention.squeeze", f"{aha}.conv_down.0")
            names.norm(f"{conv}.attention.norm", f"{aha}.conv_down.1")
            edge_conv(names, [f"{aha}.edge_conv.conv"], f"{conv}.attention.edges")
            names.linear(f"{conv}.attention.excite", f"{aha}.aggregate")

    def edge_conv(names: Names, theirs: list[str], ours: str) -> None:
        names.put(f"{ours}.weight", [f"{key}.0.weight" for key in theirs], EDGES)
        names.norm(f"{ours}.norm", *(f"{key}.1" for key in theirs))

    def temporal(names: Names, theirs: str, ours: str) -> None:
        _four_branches(names, theirs, ours)
        for k in range(2):  # a bias (1, C, 1, 1) that is added after the convolution
            names.put(f"{ours}.dilated.{k}.bias", [f"{theirs}.branches.{k}.3.bias"], MAP_BIAS)

    names = _frame(ours, graph, temporal)
    names.rules[r"l\d+\.gcn1\.conv_d\..*"] = "another name of the last graph's layers"
    return names


FAMILIES: dict[str, Callable[[Mapping[str, Tensor]], Names]] = {
    "stgcn": stgcn,
    "aagcn": aagcn,
    "ctrgcn": ctrgcn,
    "tcagcn": tcagcn,
    "hdgcn": hdgcn,
}
