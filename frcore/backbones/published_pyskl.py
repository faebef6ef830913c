"""The names of pyskl's AAGCN and CTR-GCN, told from the original ones.

pyskl's CTR-GCN sums over the first index of its graph, out[v] = sum_u G[u, v] x[u], where ours sums
over the second, out[u] = sum_v G[u, v] x[v]: ours is its transpose. So A is transposed, and
R[u, v] = W tanh(p[u] - s[v]) + b becomes R[v, u] = -W tanh(s[u] - p[v]) + b: its two embeddings
(conv1, conv2) change places and W (conv4) its sign; b stays. The ReLU after its temporal branches
is `ctrgcn`'s `temporal_relu`.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from frcore.backbones.published import FAMILIES, Layout, Names

TRANSPOSED = Layout(lambda parts: parts[0].mT, lambda ours, n: [ours.mT])
NEGATED = Layout(lambda parts: -torch.cat(parts).mT, lambda ours, n: (-ours.mT).chunk(n))
_HEAD = {r"fc\.": "cls_head.fc_cls."}


def _spelled(names: Names, spelling: Mapping[str, str]) -> Names:
    """The same table with pyskl's names, which count blocks from 0."""

    def renamed(key: str) -> str:
        for pattern, theirs in {**_HEAD, **spelling}.items():
            if match := re.match(pattern, key):
                number = int(match[1]) - 1 if match.groups() else 0
                key = theirs.format(number) + key[match.end() :]
        return re.sub(r"\.PA$", ".A", key)

    for ours, (theirs, layout) in names.sources.items():
        names.put(ours, [renamed(key) for key in theirs], layout)
    names.rules = {"A": "the body's graph before training"}
    return names


def aagcn(ours: Mapping[str, Tensor]) -> Names:
    """AAGCN as pyskl names it."""
    spelling = {
        r"l(\d+)\.gcn1\.": "gcn.{}.gcn.",
        r"l(\d+)\.tcn1\.": "gcn.{}.tcn.",
        r"l(\d+)\.residual\.": "gcn.{}.residual.",
    }
    return _spelled(FAMILIES["aagcn"](ours), spelling)


def ctrgcn(ours: Mapping[str, Tensor]) -> Names:
    """CTR-GCN as pyskl names and stores it."""
    names = FAMILIES["ctrgcn"](ours)
    for key, (theirs, layout) in names.sources.items():
        if key.endswith(".graph.conv.adjacency"):
            names.put(key, theirs, TRANSPOSED)
        elif key.endswith(".graph.conv.expand.weight"):
            names.put(key, theirs, NEGATED)
        elif ".graph.conv.pair." in key:
            half = len(theirs) // 2
            names.put(key, theirs[half:] + theirs[:half], layout)
    return _spelled(names, {r"l(\d+)\.": "net.{}."})


PYSKL: dict[str, Callable[[Mapping[str, Tensor]], Names]] = {"aagcn": aagcn, "ctrgcn": ctrgcn}


def is_pyskl(keys: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has pyskl's names."""
    return any(re.match(r"(net|gcn)\.\d+\.", key) for key in keys)
