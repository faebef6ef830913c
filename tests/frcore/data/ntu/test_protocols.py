import itertools

import pytest

from frcore.data.benchmarks import NTU60, NTU120
from frcore.data.ntu.protocols import (
    NTU60_TRAIN_SUBJECTS,
    NTU120_TRAIN_SUBJECTS,
    PUBLISHED,
    parse_name,
)
from frcore.errors import UserError


def test_a_name_tells_all_numbers():
    name = parse_name("S018C002P044R001A120")
    assert name.columns() == {"setup": 18, "camera": 2, "subject": 44, "replication": 1}
    assert (name.action, name.label) == (120, 119)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("S001C001P001R001A000", "action 0; expected 1..120"),
        ("S001C001P001R001A121", "action 121; expected 1..120"),
        ("S033C001P001R001A001", "setup 33; expected 1..32"),
        ("S001C004P001R001A001", "camera 4; expected 1..3"),
        ("S001C001P107R001A001", "subject 107; expected 1..106"),
        ("S001C001P001R003A001", "replication 3; expected 1..2"),
        ("S001C001P001R001A01", "not like S001C002P003R002A013"),
        ("S001C001P001R001A001 ", "not like"),
        ("s001c001p001r001a001", "not like"),
        ("S٠٠١C001P001R001A001", "not like"),  # digits of another script
        ("", "not like"),
    ],
)
def test_other_names_are_refused(name, said):
    with pytest.raises(UserError, match=said):
        parse_name(name)


@pytest.mark.parametrize(
    ("name", "of_60"),
    [
        ("S017C003P040R002A060", True),
        ("S017C003P040R002A061", False),
        ("S018C001P001R001A060", False),
    ],
)
def test_ntu60_is_a_part_of_ntu120(name, of_60):
    assert parse_name(name).belongs_to("ntu60") is of_60
    assert parse_name(name).belongs_to("ntu120")


@pytest.mark.parametrize(
    ("name", "of_60", "of_120"),
    [
        # subject 1 trains, camera 1 tests, odd setups test
        ("S001C001P001R001A001", ("train", "test"), ("train", "test")),
        ("S002C002P003R001A001", ("test", "train"), ("test", "train")),
        ("S016C003P038R001A001", ("train", "train"), ("train", "train")),
        ("S017C001P039R001A001", ("test", "test"), ("test", "test")),
        ("S017C002P045R001A001", ("test", "train"), ("train", "test")),  # trains in NTU 120 only
        ("S032C003P103R001A120", None, ("train", "train")),
        ("S031C003P106R001A120", None, ("test", "test")),
    ],
)
def test_splits_follow_from_the_name(name, of_60, of_120):
    parsed = parse_name(name)
    assert tuple(parsed.splits("ntu120")[p] for p in NTU120.protocols) == of_120
    if of_60:
        assert tuple(parsed.splits("ntu60")[p] for p in NTU60.protocols) == of_60


def test_subjects_cameras_and_setups_are_the_published_ones():
    assert sorted(NTU60_TRAIN_SUBJECTS) == [
        1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38,
    ]  # fmt: skip
    added = [
        45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86,
        89, 91, 92, 93, 94, 95, 97, 98, 100, 103,
    ]  # fmt: skip
    assert sorted(NTU120_TRAIN_SUBJECTS - NTU60_TRAIN_SUBJECTS) == added
    assert len(NTU120_TRAIN_SUBJECTS) == 53 and NTU60_TRAIN_SUBJECTS < NTU120_TRAIN_SUBJECTS
    pairs = itertools.product((1, 2, 17, 32), (1, 2, 3))
    names = [parse_name(f"S{setup:03}C{camera:03}P001R001A001") for setup, camera in pairs]
    assert {n.camera for n in names if n.splits("ntu60")["xview"] == "train"} == {2, 3}
    assert {n.setup for n in names if n.splits("ntu120")["xset"] == "train"} == {2, 32}


def test_published_counts_agree_across_protocols():
    sums = {
        benchmark: {sum(counts.values()) for counts in protocols.values()}
        for benchmark, protocols in PUBLISHED.items()
    }
    assert sums == {"ntu60": {56_578}, "ntu120": {113_945}}
    for record in (NTU60, NTU120):
        assert tuple(PUBLISHED[record.name]) == record.protocols
