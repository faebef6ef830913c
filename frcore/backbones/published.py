"""Published state dicts translated to ours, every key accounted for.

The published models keep subsets, branches and layers as modules of their own; ours store what runs
together as one tensor, so weights are joined here. Ours run along time as the last axis, so
convolutions (C', C, k, 1) become (C', C, 1, k).
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_CONV = ("weight", "bias")


class Translation:
    """A published state dict on its way to ours.

    Attributes:
        ours: what was translated so far.
        used: the published keys that it came from.
        ignored: published keys that hold nothing of the network, and why.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state
        self.ours: dict[str, Tensor] = {}
        self.used: set[str] = set()
        self.ignored: dict[str, str] = {}

    def take(self, key: str) -> Tensor:
        """A published tensor; a KeyError names the key that is missing."""
        self.used.add(key)
        return self.state[key]

    def copy(self, ours: str, theirs: str) -> None:
        """One tensor as it is."""
        self.ours[ours] = self.take(theirs)

    def norm(self, ours: str, *theirs: str) -> None:
        """Batch norms side by side, as one."""
        for leaf in _NORM:
            parts = [self.take(f"{key}.{leaf}") for key in theirs]
            self.ours[f"{ours}.{leaf}"] = parts[0] if parts[0].dim() == 0 else torch.cat(parts)

    def conv(self, ours: str, *theirs: str, axes: int = 2, bias: bool = True) -> None:
        """Convolutions side by side, as one with `axes` axes beside the channels."""
        for leaf in _CONV if bias else _CONV[:1]:
            joined = torch.cat([self.take(f"{key}.{leaf}") for key in theirs])
            if leaf == "weight":
                joined = joined.mT if axes == 2 else joined.squeeze(-1)
            self.ours[f"{ours}.{leaf}"] = joined

    def linear(self, ours: str, theirs: str) -> None:
        """A layer whose weight and bias are stored as they are here."""
        for leaf in _CONV:
            self.copy(f"{ours}.{leaf}", f"{theirs}.{leaf}")

    def skip(self, ours: str, conv: str, norm: str) -> None:
        """A projection on a skip path, where there is one."""
        if f"{conv}.weight" in self.state:
            self.conv(f"{ours}.0", conv)
            self.norm(f"{ours}.1", norm)

    def ignore(self, pattern: str, why: str) -> None:
        """Keys that match hold nothing of the network."""
        self.ignored |= {key: why for key in self.state if re.fullmatch(pattern, key)}


# Translates the units of a block: published prefix, our prefix.
Unit = Callable[[Translation, str, str], None]


def _translate(state: Mapping[str, Tensor], graph: Unit, temporal: Unit) -> Translation:
    """The frame that all families share, with a family's units in its blocks."""
    made = Translation(state)
    made.norm("backbone.input_norm.norm", "data_bn")
    made.linear("classifier", "fc")
    for number in sorted({int(m[1]) for key in state if (m := re.match(r"l(\d+)\.", key))}):
        theirs, ours = f"l{number}", f"backbone.blocks.{number - 1}"
        graph(made, f"{theirs}.gcn1", f"{ours}.graph")
        temporal(made, f"{theirs}.tcn1", f"{ours}.temporal")
        made.skip(f"{ours}.residual", f"{theirs}.residual.conv", f"{theirs}.residual.bn")
    made.ignore(r"ren_(low|mid|high|fin)\..*", "the FR Head's, whose prototypes were not saved")
    return made


def _graph_unit(made: Translation, theirs: str, ours: str) -> None:
    """Norm and skip of a graph unit, and its learnt graph."""
    made.copy(f"{ours}.conv.adjacency", f"{theirs}.PA")
    made.norm(f"{ours}.norm", f"{theirs}.bn")
    made.skip(f"{ours}.skip", f"{theirs}.down.0", f"{theirs}.down.1")


# ---- one temporal convolution: ST-GCN, AAGCN ---------------------------------------------------


def _one_conv(made: Translation, theirs: str, ours: str) -> None:
    made.conv(f"{ours}.0", f"{theirs}.conv")
    made.norm(f"{ours}.1", f"{theirs}.bn")


def _subset_convs(made: Translation, theirs: str, ours: str) -> None:
    _graph_unit(made, theirs, ours)
    convs = [f"{theirs}.conv_d.{k}" for k in range(3)]
    weights = [made.take(f"{conv}.weight")[:, :, 0, 0] for conv in convs]
    made.ours[f"{ours}.conv.conv.weight"] = torch.stack(weights, dim=2)  # (C', C, S)
    biases = [made.take(f"{conv}.bias") for conv in convs]
    made.ours[f"{ours}.conv.conv.bias"] = torch.stack(biases)


def from_stgcn(state: Mapping[str, Tensor]) -> Translation:
    """The paper's ST-GCN."""
    return _translate(state, _subset_convs, _one_conv)


def from_aagcn(state: Mapping[str, Tensor]) -> Translation:
    """AAGCN, with its attention or without."""

    def graph(made: Translation, theirs: str, ours: str) -> None:
        attention = f"{theirs}.conv_sa.weight" in state
        unit = f"{ours}.0" if attention else ours
        _subset_convs(made, theirs, unit)
        made.copy(f"{unit}.conv.alpha", f"{theirs}.alpha")
        made.conv(f"{unit}.conv.pair", *(f"{theirs}.conv_{x}.{k}" for x in "ab" for k in range(3)))
        if attention:
            names = {"joints": "conv_sa", "frames": "conv_ta", "squeeze": "fc1c", "excite": "fc2c"}
            for name, key in names.items():
                made.linear(f"{ours}.1.{name}", f"{theirs}.{key}")

    return _translate(state, graph, _one_conv)


# ---- four temporal branches: CTR-GCN, TCA-GCN, HD-GCN ------------------------------------------


def _four_branches(made: Translation, theirs: str, ours: str) -> None:
    branches = [f"{theirs}.branches.{k}" for k in range(4)]
    made.conv(f"{ours}.entry", *(f"{branch}.0" for branch in branches[:3]))
    made.norm(f"{ours}.entry_norm", *(f"{branch}.1" for branch in branches[:3]))
    for k in range(2):
        conv = f"{branches[k]}.3"
        if f"{conv}.bias" in made.state:  # HD-GCN adds its bias (1, C, 1, 1) after the convolution
            made.conv(f"{ours}.dilated.{k}", f"{conv}.conv", bias=False)
            made.ours[f"{ours}.dilated.{k}.bias"] = made.take(f"{conv}.bias").flatten()
        else:
            made.conv(f"{ours}.dilated.{k}", f"{conv}.conv")
    made.conv(f"{ours}.skip", f"{branches[3]}.0")
    closing = [f"{branches[0]}.3.bn", f"{branches[1]}.3.bn", f"{branches[2]}.4", f"{branches[3]}.1"]
    made.norm(f"{ours}.norm", *closing)


def _refined_topology(made: Translation, theirs: str, ours: str) -> list[str]:
    """What CTR-GCN and TCA-GCN share; gives the published subsets."""
    _graph_unit(made, theirs, ours)
    subsets = [f"{theirs}.convs.{k}" for k in range(3)]
    made.copy(f"{ours}.conv.alpha", f"{theirs}.alpha")
    pair = [f"{subset}.{conv}" for conv in ("conv1", "conv2") for subset in subsets]
    made.conv(f"{ours}.conv.pair", *pair, axes=1)
    made.conv(f"{ours}.conv.expand", *(f"{subset}.conv4" for subset in subsets))
    return subsets


def from_ctrgcn(state: Mapping[str, Tensor]) -> Translation:
    """CTR-GCN."""

    def graph(made: Translation, theirs: str, ours: str) -> None:
        subsets = _refined_topology(made, theirs, ours)
        made.conv(f"{ours}.conv.value", *(f"{subset}.conv3" for subset in subsets))

    return _translate(state, graph, _four_branches)


def from_tcagcn(state: Mapping[str, Tensor]) -> Translation:
    """TCA-GCN; its `conv3` is never called."""

    def graph(made: Translation, theirs: str, ours: str) -> None:
        subsets = _refined_topology(made, theirs, ours)
        routing = [f"{subset}.conv_rf" for subset in subsets]
        made.conv(f"{ours}.conv.value", *(f"{subset}.conv" for subset in subsets), bias=False)
        made.conv(f"{ours}.conv.weights.context", *(f"{key}.g" for key in routing), axes=1)
        made.conv(f"{ours}.conv.weights.enter", *(f"{key}.a" for key in routing), axes=1)
        made.norm(f"{ours}.conv.weights.norm", *(f"{key}.bn" for key in routing))
        leave = [f"{key}.b" for key in routing]
        made.conv(f"{ours}.conv.weights.leave", *leave, axes=1, bias=False)

    def temporal(made: Translation, theirs: str, ours: str) -> None:
        _four_branches(made, theirs, f"{ours}.0")
        for name, key, first in (("local", "local_att", 0), ("overall", "global_att", 1)):
            for layer in (0, 3):  # a convolution and its norm; the published pool comes first
                here, there = f"{ours}.1.{name}", f"{theirs}.af.{key}"
                made.conv(f"{here}.{layer}", f"{there}.{layer + first}")
                made.norm(f"{here}.{layer + 1}", f"{there}.{layer + first + 1}")

    made = _translate(state, graph, temporal)
    made.ignore(r"l\d+\.gcn1\.convs\.\d\.conv3\.(weight|bias)", "never called")
    return made


def from_hdgcn(state: Mapping[str, Tensor]) -> Translation:
    """HD-GCN; its `conv_d` is a second name of the last graph's layers."""

    def graph(made: Translation, theirs: str, ours: str) -> None:
        _graph_unit(made, theirs, ours)
        conv, graphs = f"{ours}.conv", range(len(made.state[f"{theirs}.PA"]))
        made.conv(f"{conv}.down", *(f"{theirs}.conv_down.{n}.0" for n in graphs))
        made.norm(f"{conv}.down_norm", *(f"{theirs}.conv_down.{n}.1" for n in graphs))
        subsets = [f"{theirs}.conv.{n}.{k}" for n in graphs for k in range(3)]
        made.conv(f"{conv}.subsets", *(f"{key}.0" for key in subsets))
        made.norm(f"{conv}.norm", *(f"{key}.1" for key in subsets))
        edge_conv(made, [f"{theirs}.conv.{n}.3.conv" for n in graphs], f"{conv}.edges")
        if f"{theirs}.aha.aggregate.weight" in state:
            attention, aha = f"{conv}.attention", f"{theirs}.aha"
            made.conv(f"{attention}.squeeze", f"{aha}.conv_down.0")
            made.norm(f"{attention}.norm", f"{aha}.conv_down.1")
            edge_conv(made, [f"{aha}.edge_conv.conv"], f"{attention}.edges")
            made.linear(f"{attention}.excite", f"{aha}.aggregate")

    def edge_conv(made: Translation, theirs: list[str], ours: str) -> None:
        weights = [made.take(f"{key}.0.weight").flatten(1) for key in theirs]
        made.ours[f"{ours}.weight"] = torch.stack(weights)  # (L, q, 2q)
        made.norm(f"{ours}.norm", *(f"{key}.1" for key in theirs))

    made = _translate(state, graph, _four_branches)
    made.ignore(r"l\d+\.gcn1\.conv_d\..*", "another name of the last graph's layers")
    return made


FAMILIES: dict[str, Callable[[Mapping[str, Tensor]], Translation]] = {
    "stgcn": from_stgcn,
    "aagcn": from_aagcn,
    "ctrgcn": from_ctrgcn,
    "tcagcn": from_tcagcn,
    "hdgcn": from_hdgcn,
}
