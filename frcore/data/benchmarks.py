"""Benchmark records: the one place that knows a data set's skeleton, classes and protocols."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from frcore.data.ntu.names import NTU60_ACTIONS, NTU120_ACTIONS
from frcore.errors import UserError, unknown_name
from frcore.skeleton import NTU25, UCLA20, Skeleton, get_skeleton

AbsentPerson = Literal["zero", "copy"]

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

# Names that a user's own data may not take.
BUILT_IN = ("synthetic", "nw_ucla", "ntu60", "ntu120")


@dataclass(frozen=True)
class Benchmark:
    """What a data set is.

    Args:
        name: also the folder's name in the data root: letters, digits, "_" and "-".
        skeleton: the body, or the name of a known one.
        class_names: K names; label k is `class_names[k]`.
        num_persons: M, the persons a clip can hold.
        num_frames: T that a model sees unless a recipe says otherwise (clips are stored at their
            own length).
        protocols: names of the ways to split it; the first is the default.
        channels: C, 2 or 3 coordinates.
        confusable: known groups of look-alike classes (labels), where they are known.
        mutual: labels of actions between two persons, where there are any.
        absent_person: what a model sees in the slots of persons that a clip does not have: zeros,
            or a copy of the first person (the field's files of NTU RGB+D 120).
        centered: the clips are centred already, so the pipeline leaves them where they are: in the
            field's files of NTU RGB+D a clip's first frame need not be the one it is centred by.
        ensemble_weights: protocol -> weights of joint, bone, joint motion and bone motion.
        source: one line, where the data come from.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """

    name: str
    skeleton: Skeleton
    class_names: tuple[str, ...]
    num_persons: int
    num_frames: int
    protocols: tuple[str, ...]
    channels: int = 3
    confusable: tuple[tuple[int, ...], ...] = ()
    mutual: tuple[int, ...] = ()
    absent_person: AbsentPerson = "zero"
    centered: bool = False
    ensemble_weights: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("skeleton", get_skeleton(self.skeleton))
        put("class_names", tuple(str(c) for c in self.class_names))
        put("protocols", tuple(self.protocols))
        put("confusable", tuple(tuple(int(k) for k in group) for group in self.confusable))
        put("mutual", tuple(int(k) for k in self.mutual))
        weights = {p: tuple(float(x) for x in w) for p, w in self.ensemble_weights.items()}
        put("ensemble_weights", weights)
        self._check()

    def _check(self) -> None:
        check_name("benchmark name", self.name)
        if not self.class_names:
            raise UserError(f"Benchmark '{self.name}' has no classes; name at least one.")
        if not self.protocols:
            raise UserError(f"Benchmark '{self.name}' has no protocol; name at least one.")
        for protocol in self.protocols:
            check_name("protocol", protocol)
        for what, most in (("num_persons", 100), ("num_frames", 100_000)):
            value = getattr(self, what)
            if type(value) is not int or not 1 <= value <= most:
                raise UserError(
                    f"{what} of benchmark '{self.name}' is {value!r}; expected 1 to {most:,}."
                )
        if self.channels not in (2, 3):
            raise UserError(
                f"channels of benchmark '{self.name}' is {self.channels!r}; "
                "expected 2 (x, y) or 3 (x, y, z)."
            )
        for what, groups in (("confusable", self.confusable), ("mutual", (self.mutual,))):
            outside = [k for group in groups for k in group if not 0 <= k < self.num_classes]
            if outside:
                raise UserError(
                    f"{what} of benchmark '{self.name}' holds {outside}; "
                    f"expected labels in 0..{self.num_classes - 1}."
                )
        if self.absent_person not in get_args(AbsentPerson):
            raise UserError(
                f"absent_person of benchmark '{self.name}' is {self.absent_person!r}; "
                "expected 'zero' or 'copy'."
            )
        if type(self.centered) is not bool:
            raise UserError(
                f"centered of benchmark '{self.name}' is {self.centered!r}; expected true or false."
            )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values; `from_dict` is its inverse."""
        return {
            "name": self.name,
            "skeleton": self.skeleton.to_dict(),
            "class_names": list(self.class_names),
            "num_persons": self.num_persons,
            "num_frames": self.num_frames,
            "protocols": list(self.protocols),
            "channels": self.channels,
            "confusable": [list(group) for group in self.confusable],
            "mutual": list(self.mutual),
            "absent_person": self.absent_person,
            "centered": self.centered,
            "ensemble_weights": {p: list(w) for p, w in self.ensemble_weights.items()},
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Benchmark":
        """A benchmark from `to_dict`'s values; checked like any other."""
        return cls(**{**fields, "skeleton": Skeleton.from_dict(fields["skeleton"])})

    def __repr__(self) -> str:
        return (
            f"Benchmark('{self.name}', {self.num_classes} classes, {self.skeleton.name}, "
            f"protocols {', '.join(self.protocols)})"
        )


def check_name(what: str, name: object) -> str:
    """The name, if it is safe as a folder or column name; a UserError otherwise."""
    if not isinstance(name, str) or not _SAFE_NAME.fullmatch(name):
        raise UserError(
            f"{what} {str(name)[:80]!r} cannot be used: expected 1 to 64 letters, "
            "digits, '_' or '-', starting with a letter or digit."
        )
    return name


STREAMS = ("joint", "bone", "joint_motion", "bone_motion")

# Weights of the four streams' logits, from the ensemble script of the FR Head authors.
_PUBLISHED_WEIGHTS = {
    "nw_ucla": {"xview": (0.6, 0.6, 0.4, 0.4)},
    "ntu60": {"xsub": (2.0, 2.0, 1.0, 1.0), "xview": (0.6, 0.6, 0.4, 0.4)},
    "ntu120": {"xsub": (0.6, 0.75, 0.3, 0.15), "xset": (0.6, 0.75, 0.3, 0.15)},
}


def ensemble_weights(
    benchmark: str, protocol: str | None = None, *, streams: Sequence[str] = STREAMS
) -> tuple[float, ...]:
    """The published weights for `Predictions.ensemble`, one a stream in the order of `streams`.

    Args:
        benchmark: "nw_ucla", "ntu60" or "ntu120".
        protocol: needed where the weights depend on it (NTU 60).
        streams: those that are summed; the others' weights are left out.

    Raises:
        UserError: no weights were published for it, or an unknown protocol or stream.
    """
    if benchmark not in _PUBLISHED_WEIGHTS:
        raise unknown_name("benchmark with published weights", benchmark, _PUBLISHED_WEIGHTS)
    by_protocol = _PUBLISHED_WEIGHTS[benchmark]
    if protocol is None and len(set(by_protocol.values())) == 1:
        protocol = next(iter(by_protocol))
    if protocol is None:
        raise UserError(
            f"The published weights of {benchmark} depend on the protocol: give one of "
            f"{', '.join(by_protocol)}, such as "
            f"frcore.ensemble_weights({benchmark!r}, {next(iter(by_protocol))!r})."
        )
    if protocol not in by_protocol:
        raise unknown_name(f"protocol of {benchmark}", protocol, by_protocol)
    weights = dict(zip(STREAMS, by_protocol[protocol], strict=True))
    for stream in streams:
        if stream not in weights:
            raise unknown_name("stream", stream, STREAMS)
    return tuple(weights[stream] for stream in streams)


# Wang et al., "Cross-view Action Modeling, Learning and Recognition", CVPR 2014. Actions a01..a06,
# a08, a09, a11 and a12 in this order.
NW_UCLA = Benchmark(
    name="nw_ucla",
    skeleton=UCLA20,
    class_names=(
        "pick up with one hand",
        "pick up with two hands",
        "drop trash",
        "walk around",
        "sit down",
        "stand up",
        "donning",
        "doffing",
        "throw",
        "carry",
    ),
    num_persons=1,
    num_frames=52,
    protocols=("xview",),
    ensemble_weights=_PUBLISHED_WEIGHTS["nw_ucla"],
    source="Northwestern-UCLA Multiview Action 3D (Wang et al., CVPR 2014), Kinect v1 skeletons",
)

_OF_NTU = {"skeleton": NTU25, "num_persons": 2, "num_frames": 64}
_MUTUAL = tuple(range(49, 60))  # A50 to A60

NTU60 = Benchmark(
    name="ntu60",
    class_names=NTU60_ACTIONS,
    mutual=_MUTUAL,
    protocols=("xsub", "xview"),
    ensemble_weights=_PUBLISHED_WEIGHTS["ntu60"],
    source="NTU RGB+D (Shahroudy et al., CVPR 2016), Kinect v2 skeletons",
    **_OF_NTU,
)

NTU120 = Benchmark(
    name="ntu120",
    class_names=NTU120_ACTIONS,
    mutual=(*_MUTUAL, *range(105, 120)),  # A106 to A120
    absent_person="copy",
    protocols=("xsub", "xset"),
    ensemble_weights=_PUBLISHED_WEIGHTS["ntu120"],
    source="NTU RGB+D 120 (Liu et al., TPAMI 2019), Kinect v2 skeletons",
    **_OF_NTU,
)
