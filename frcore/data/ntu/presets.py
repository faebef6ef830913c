"""Presets: how raw bodies become a clip of one or two persons, every rule under a name of its own.

"field" is what published work does (the scripts of the CTR-GCN family, themselves from SGN);
"clean" leaves out what there looks like an accident. A preset of yours is
`dataclasses.replace(PRESETS["field"], name="mine", overwrite=False)`.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from frcore.data.benchmarks import AbsentPerson, check_name
from frcore.errors import UserError, unknown_name

Intervals = Literal["compressed", "true"]
Overlap = Literal["interval", "frames"]
EmptyFrame = Literal["sum", "all"]

_CHOICES = {
    "intervals": get_args(Intervals),
    "overlap": get_args(Overlap),
    "empty_frame": get_args(EmptyFrame),
    "absent_person": (None, *get_args(AbsentPerson)),
}


@dataclass(frozen=True)
class NtuPreset:
    """The rules, in the order in which they apply; the defaults are the field's.

    Args:
        name: how a store records it.
        intervals: at which frames a body stands. "compressed": from the first in which it was seen
            without gaps, so a body that leaves and returns is moved forward in time; "true": where
            it was seen (of a body that is twice in a frame, the first).
        min_frames: of several bodies, those seen fewer times are dropped; so are all after that
            which the next rule finds, but for the last one that is left.
        spread_ratio: a frame is noise where the body's extent in x is more than this times its
            extent in y (in float64, of float32 extents).
        max_spread_share: a body with this share of noisy frames or more is dropped.
        upright_motion: the motion of a body with some noisy frames is the smaller of that over all
            and that over its other frames. Motion is the variance over joints and frames, summed
            over x, y and z, all in float32; bodies are sorted by it, the largest first, equal ones
            as they were.
        overlap: when a further body fits into a slot. "interval": the slot's interval (from the
            first frame of its bodies to the last, whether filled or not) and the body's share at
            most one frame; "frames": at most one frame of the body's own is filled in the slot.
        second_slot_from_zero: the empty second slot counts as filled at frame 0, so its interval
            begins there whatever is written into it.
        overwrite: a body written into a slot replaces what is in its frames; else only frames that
            nobody fills are written.
        empty_frame: what counts as empty, of a frame or of a slot in it. "sum": its values sum to
            exactly 0 (in float32); "all": every value is 0.
        drop_empty_of_one: empty frames are dropped where a file has one body only, too; they
            always are where it has several, also if one of these is left.
        keep_empty_slot: a clip whose bodies all went into the first slot keeps the second as a
            person of zeros, and `absent_person` does not fill it; else it is a clip of one person.
        center: subtract joint 1 (0-based, the middle of the spine) of the first frame in which the
            first slot is not all zero. In clips of two slots, those empty in a frame are zero.
        absent_person: what a model sees as the second person of clips with one; None: as
            published for the set (NTU 60 "zero", NTU 120 "copy").

    Raises:
        UserError: naming the rule, its value and what is allowed.
    """

    name: str
    intervals: Intervals = "compressed"
    min_frames: int = 12
    spread_ratio: float = 0.8
    max_spread_share: float = 0.69754
    upright_motion: bool = True
    overlap: Overlap = "interval"
    second_slot_from_zero: bool = True
    overwrite: bool = True
    empty_frame: EmptyFrame = "sum"
    drop_empty_of_one: bool = False
    keep_empty_slot: bool = True
    center: bool = True
    absent_person: AbsentPerson | None = None

    def __post_init__(self) -> None:
        check_name("name of a preset", self.name)
        for rule, choices in _CHOICES.items():
            value = getattr(self, rule)
            if value not in choices:
                known = ", ".join(map(repr, choices))
                raise UserError(f"{rule} of preset '{self.name}' is {value!r}; expected {known}.")
        if type(self.min_frames) is not int or self.min_frames < 1:
            raise UserError(
                f"min_frames of preset '{self.name}' is {self.min_frames!r}; expected 1 or more."
            )
        if not self.spread_ratio >= 0:
            raise UserError(
                f"spread_ratio of preset '{self.name}' is {self.spread_ratio!r}; "
                "expected 0 or more (float('inf'): no frame is noise)."
            )
        if not 0 < self.max_spread_share <= 1:
            raise UserError(
                f"max_spread_share of preset '{self.name}' is {self.max_spread_share!r}; "
                "expected a share above 0, at most 1."
            )


PRESETS = {
    "field": NtuPreset("field"),
    # Bodies stay where they were seen, and a slot's gaps are free for others; no frame that
    # somebody fills is overwritten; only frames without any body are dropped, in clips of one body
    # as in others; a second person is there or not: nothing is copied, no slot is empty throughout.
    "clean": NtuPreset(
        "clean",
        intervals="true",
        overlap="frames",
        second_slot_from_zero=False,
        overwrite=False,
        empty_frame="all",
        drop_empty_of_one=True,
        keep_empty_slot=False,
        absent_person="zero",
    ),
}


def get_preset(preset: "str | NtuPreset") -> NtuPreset:
    """A preset by its name, or the one that is given.

    Raises:
        UserError: for an unknown name, with the nearest one.
    """
    if isinstance(preset, NtuPreset):
        return preset
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    return PRESETS[preset]
