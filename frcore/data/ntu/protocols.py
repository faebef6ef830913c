"""What the names `SsssCcccPpppRrrrAaaa` say: labels, and the splits of every protocol.

X-Sub, X-View (Shahroudy et al., CVPR 2016) and X-Set (Liu et al., TPAMI 2019).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from frcore.errors import UserError

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", re.ASCII)
# The largest number of each, in the order of the name: NTU RGB+D 120, of which 60 is a part.
_LARGEST = {"setup": 32, "camera": 3, "subject": 106, "replication": 2, "action": 120}
_NTU60_SETUPS, _NTU60_ACTIONS = 17, 60

TRAIN_CAMERAS = frozenset({2, 3})
NTU60_TRAIN_SUBJECTS = frozenset(
    {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
)
NTU120_TRAIN_SUBJECTS = NTU60_TRAIN_SUBJECTS | {
    45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89,
    91, 92, 93, 94, 95, 97, 98, 100, 103,
}  # fmt: skip

# Clips by protocol and split, without those that the lists of incomplete skeletons name.
PUBLISHED: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "ntu60": {
        "xsub": {"train": 40_091, "test": 16_487},
        "xview": {"train": 37_646, "test": 18_932},
    },
    "ntu120": {
        "xsub": {"train": 63_026, "test": 50_919},
        "xset": {"train": 54_468, "test": 59_477},
    },
}


@dataclass(frozen=True)
class NtuName:
    """A file's name, read. Numbers are those of the name, from 1."""

    setup: int
    camera: int
    subject: int
    replication: int
    action: int

    @property
    def label(self) -> int:
        """0..119."""
        return self.action - 1

    def belongs_to(self, benchmark: str) -> bool:
        """Whether it is of "ntu60" (A001 to A060 in the setups S001 to S017) or "ntu120" (all)."""
        return benchmark == "ntu120" or (
            self.setup <= _NTU60_SETUPS and self.action <= _NTU60_ACTIONS
        )

    def splits(self, benchmark: str) -> dict[str, str]:
        """Protocol -> "train" or "test"."""
        if benchmark == "ntu60":
            trains = {
                "xsub": self.subject in NTU60_TRAIN_SUBJECTS,
                "xview": self.camera in TRAIN_CAMERAS,
            }
        else:
            trains = {
                "xsub": self.subject in NTU120_TRAIN_SUBJECTS,
                "xset": self.setup % 2 == 0,
            }
        return {protocol: "train" if trained else "test" for protocol, trained in trains.items()}

    def columns(self) -> dict[str, int]:
        """The store's extra columns."""
        return {
            "setup": self.setup,
            "camera": self.camera,
            "subject": self.subject,
            "replication": self.replication,
        }


def parse_name(name: str) -> NtuName:
    """Reads a name like S001C002P003R002A013, without a suffix.

    Raises:
        UserError: it is not like that, or a number is outside the data set.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise UserError(f"the name {name[:80]!r} is not like S001C002P003R002A013")
    numbers = dict(zip(_LARGEST, map(int, match.groups()), strict=True))
    for what, number in numbers.items():
        if not 1 <= number <= _LARGEST[what]:
            raise UserError(f"the name {name!r} has {what} {number}; expected 1..{_LARGEST[what]}")
    return NtuName(**numbers)


def looks_like(benchmark: str, train: int, test: int) -> str | None:
    """The protocol whose published numbers of clips are these, within 1 %; None: no one's.

    Args:
        benchmark: "ntu60" or "ntu120".
        train, test: clips.
    """
    for protocol, published in PUBLISHED[benchmark].items():
        pairs = ((train, published["train"]), (test, published["test"]))
        if all(100 * abs(count - known) <= known for count, known in pairs):
            return protocol
    return None


def unlike_published(benchmark: str, splits: Mapping[str, Mapping[str, int]]) -> str:
    """Clips beside the published counts, such as "xsub train 12 of 40,091, ..."; "" if all agree.

    Args:
        benchmark: "ntu60" or "ntu120".
        splits: clips by protocol and split; protocols that are not named are not compared.
    """
    published = PUBLISHED[benchmark]
    pairs = [
        (f"{protocol} {split}", counts.get(split, 0), published[protocol][split])
        for protocol, counts in splits.items()
        for split in published[protocol]
    ]
    if all(count == wanted for _, count, wanted in pairs):
        return ""
    return ", ".join(f"{what} {count:,} of {wanted:,}" for what, count, wanted in pairs)
