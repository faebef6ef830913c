"""Recognisers from published weights: every key accounted for, what does not fit is named."""

import logging
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from frcore.backbones import create_backbone
from frcore.backbones.hdgcn import levels_of
from frcore.backbones.published import FAMILIES, Names, Translation
from frcore.backbones.published_pyskl import PYSKL, is_pyskl
from frcore.errors import UserError, unknown_name
from frcore.recognizer import Recognizer
from frcore.skeleton import Skeleton, get_skeleton
from frcore.weights_file import read_weights

log = logging.getLogger(__name__)

Shape = tuple[int, ...]
SHOWN = 10  # keys that an error names

# What the keys of a family have, the most telling first.
_MARKS = {
    "hdgcn": ("gcn1.conv_down.",),
    "tcagcn": (".conv_rf.",),
    "ctrgcn": ("gcn1.convs.",),
    "aagcn": (".conv_a.", "alpha"),
    "the 2s-AGCN of CVPR 2019": (".conv_a.",),
    "the ST-GCN of AAAI 2018": ("st_gcn_networks.",),
    "stgcn": ("gcn1.conv_d.",),
}
_OTHER_NETWORK = {
    "the 2s-AGCN of CVPR 2019": "It has no alpha and a softmax where 'aagcn' has a tanh, so no "
    "backbone here computes the same; its successor AAGCN can be read.",
    "the ST-GCN of AAAI 2018": "Files of that network are not read.",
}


class Published(NamedTuple):
    """What was made of published weights."""

    recognizer: Recognizer  # in evaluation mode, on the CPU
    translation: Translation
    overrides: dict[str, Any]  # of the backbone: those given, and those that the file asks for


def from_published(
    backbone: str,
    weights: Mapping[str, Tensor] | str | Path,
    *,
    skeleton: str | Skeleton,
    num_classes: int,
    num_persons: int,
    num_frames: int,
    **overrides: Any,
) -> Recognizer:
    """A recogniser with published weights, in evaluation mode on the CPU.

    Reads the names of the families of FR Head, CTR-GCN, 2s-AGCN (AAGCN), TCA-GCN and HD-GCN, and
    those of pyskl's AAGCN and CTR-GCN. Every key is used, or ignored by a rule and listed in a
    warning (FR Head's own weights, second names, weights never called); others are errors.

    Args:
        backbone: "stgcn", "aagcn", "ctrgcn", "tcagcn" or "hdgcn".
        weights: a state dict, or a file of one (.pt, .pth, .safetensors).
        skeleton: "ntu25", "ucla20", "coco17" or a `Skeleton`.
        num_classes: K.
        num_persons: M.
        num_frames: T; weights fit any.
        **overrides: of the backbone: `center=1` (HD-GCN, whose weights do not say it),
            `attention=False` (AAGCN without its gates), `width`, `in_channels`. `temporal_relu` is
            switched on for pyskl's CTR-GCN.

    Raises:
        UserError: an unreadable file; keys that are missing, unexpected or of another shape, with
            both shapes; weights that are not finite numbers.

    Example:
        >>> model = frcore.from_published("ctrgcn", "ntu120_joint.pt", skeleton="ntu25",
        ...                               num_classes=120, num_persons=2, num_frames=64)
    """
    sizes = {"num_persons": num_persons, "num_frames": num_frames}
    made = read_published(backbone, weights, skeleton, num_classes, {**sizes, **overrides})
    for line in made.translation.ignored_by_reason():
        log.warning("Published weights for %s: %s", backbone, line)
    return made.recognizer


def read_published(
    backbone: str,
    weights: Mapping[str, Tensor] | str | Path,
    skeleton: str | Skeleton,
    num_classes: int,
    arguments: Mapping[str, Any],
) -> Published:
    """As `from_published`, and what became of the keys; `arguments` are those of the backbone."""
    if backbone not in FAMILIES:
        raise unknown_name("backbone with published weights", backbone, FAMILIES)
    if not isinstance(num_classes, Integral) or num_classes < 1:
        raise UserError(f"num_classes must be a whole number from 1, not {num_classes!r}.")
    state, source = read_weights(weights)
    arguments = {**_asked_by(state, backbone, source), **arguments}
    if backbone == "hdgcn" and arguments.get("center") is None:
        arguments["center"] = get_skeleton(skeleton).root + 1
        text = "%s: HD-GCN's weights do not say their centre; center=%d, the skeleton's, is taken."
        log.warning(text, source, arguments["center"])
    with torch.random.fork_rng(devices=[]):  # fresh weights, soon replaced
        network = create_backbone(backbone, skeleton=skeleton, **arguments)
        model = Recognizer(network, num_classes=num_classes)
    names = (PYSKL if is_pyskl(state) else FAMILIES)[backbone](model.state_dict())
    _check_fit(names, state, source, backbone, model)
    _check_values(names, state, source)
    translation = names.translate(state)
    model.load_state_dict(translation.ours, strict=True)
    sizes = ("num_persons", "num_frames", "in_channels")
    overrides = {k: value for k, value in arguments.items() if k not in sizes}
    return Published(model.eval(), translation, overrides)


def _asked_by(state: Mapping[str, Tensor], backbone: str, source: str) -> dict[str, Any]:
    """Overrides that a file's origin asks for."""
    if not is_pyskl(state):
        return {}
    if backbone not in PYSKL:
        raise UserError(
            f"{source} has pyskl's names, of which {' and '.join(PYSKL)} are read, not {backbone}."
        )
    return {"temporal_relu": True} if backbone == "ctrgcn" else {}


def _check_fit(
    names: Names, state: Mapping[str, Tensor], source: str, backbone: str, model: Recognizer
) -> None:
    """Refuses a state dict whose keys or shapes are not those expected."""
    ignored = names.ignored(state)
    found = {key: tuple(tensor.shape) for key, tensor in state.items() if key not in ignored}
    expected = {key: tuple(tensor.shape) for key, tensor in names.expected().items()}
    classes = model.classifier.out_features
    unfit = _unfit(found, expected, f"{backbone} for {classes} classes")
    if any(unfit):
        in_turn = [line for lines in zip_longest(*unfit) for line in lines if line]
        shown = [line for lines in unfit for line in lines if line in in_turn[:SHOWN]]
        more = [f"and {len(in_turn) - SHOWN:,} more"] if len(in_turn) > SHOWN else []
        body, persons = model.backbone.skeleton.name, model.backbone.num_persons
        head = f"{source} does not fit {backbone} ({body}, persons {persons}, classes {classes})."
        hints = _hints(found, expected, backbone, model)
        raise UserError("\n  ".join([" ".join([head, *hints]), *shown, *more]))


def _unfit(
    found: Mapping[str, Shape], expected: Mapping[str, Shape], what: str
) -> tuple[list[str], list[str], list[str]]:
    """A line a key: those of another shape, missing ones, unexpected ones."""
    other = [
        f"{key}: {found[key]} in the file, {shape} in {what}"
        for key, shape in expected.items()
        if found.get(key, shape) != shape
    ]
    missing = [
        f"{key}: missing in the file, {shape} in {what}"
        for key, shape in expected.items()
        if key not in found
    ]
    unexpected = [
        f"{key}: {shape} in the file, not in {what}"
        for key, shape in found.items()
        if key not in expected
    ]
    return other, missing, unexpected


def _hints(
    found: Mapping[str, Shape], expected: Mapping[str, Shape], backbone: str, model: Recognizer
) -> Iterator[str]:
    """What most likely is wrong, in words."""
    family = next((f for f, marks in _MARKS.items() if all(_any(m, found) for m in marks)), None)
    if family in _OTHER_NETWORK:
        yield f"Its keys are those of {family}. {_OTHER_NETWORK[family]}"
    elif family is None:
        yield f"Its keys are of no family that is read: {', '.join(FAMILIES)}."
    elif family != backbone:
        yield f"Its keys look like those of '{family}'."
    if family != backbone:
        return
    classes = next(key for key in expected if key.endswith(("fc.bias", "fc_cls.bias")))
    if classes in found and found[classes] != expected[classes]:
        count = _first(found[classes])
        yield f"It was trained on {count} classes: give num_classes={count}, or its own benchmark."
    if "data_bn.bias" in found and found["data_bn.bias"] != expected["data_bn.bias"]:
        network = model.backbone
        yield (
            f"Its input norm has {_first(found['data_bn.bias'])} = persons x joints x channels; "
            f"here {network.num_persons} x {network.skeleton.num_joints} x {network.in_channels}."
        )
    if backbone == "aagcn" and _any(".conv_sa.", found) != _any(".conv_sa.", expected):
        with_gates = _any(".conv_sa.", found)
        yield (
            "It has the three attentions: leave attention=False out."
            if with_gates
            else "It has no attention (conv_sa, conv_ta, fc1c, fc2c): attention=False."
        )
    graphs = _first(found.get("l1.gcn1.PA", ()))
    if backbone == "hdgcn" and graphs != _first(expected["l1.gcn1.PA"]):
        body = model.backbone.skeleton
        centers = range(1, body.num_joints + 1)
        fitting = [str(c) for c in centers if len(levels_of(body, c)) - 1 == graphs]
        choice = f", as with center={' or '.join(fitting)}" if fitting else ""
        yield f"Its levels make {graphs} graphs{choice}."


def _any(mark: str, keys: Mapping[str, Any]) -> bool:
    return any(mark in key for key in keys)


def _first(shape: Shape) -> int:
    return shape[0] if shape else 0


def _check_values(names: Names, state: Mapping[str, Tensor], source: str) -> None:
    """Refuses weights that are no finite numbers."""
    wrong = []
    for key, wanted in names.expected().items():
        tensor = state[key]
        if tensor.is_meta or tensor.layout != torch.strided:
            wrong.append(f"{key}: no plain tensor")
        elif tensor.is_floating_point() != wanted.is_floating_point() or tensor.is_complex():
            wrong.append(f"{key}: {str(tensor.dtype).removeprefix('torch.')}")
        elif wanted.is_floating_point() and not tensor.float().isfinite().all():
            wrong.append(f"{key}: NaN or infinity")
    if wrong:
        more = f", and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
        raise UserError(
            f"{source} holds what no weights can be: {', '.join(wrong[:SHOWN])}{more}. Expected "
            "finite floating-point numbers."
        )
