from dataclasses import replace

import pytest

from frcore.data.benchmarks import NTU120
from frcore.data.ntu.presets import PRESETS, NtuPreset, get_preset
from frcore.errors import UserError


def test_presets_are_known_by_name_and_checked():
    assert get_preset("field") == NtuPreset("field") and get_preset("clean").name == "clean"
    mine = replace(PRESETS["field"], name="mine", min_frames=1)
    assert get_preset(mine) is mine
    with pytest.raises(UserError, match="Unknown preset 'fields'. Did you mean 'field'"):
        get_preset("fields")


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("name", "a/b"),
        ("intervals", "real"),
        ("overlap", "any"),
        ("empty_frame", "sums"),
        ("absent_person", "mirror"),
        ("min_frames", 0),
        ("min_frames", 1.5),
        ("spread_ratio", -1),
        ("spread_ratio", float("nan")),
        ("max_spread_share", 0),
        ("max_spread_share", 1.1),
    ],
)
def test_rules_out_of_range_are_named_with_their_value(rule, value):
    with pytest.raises(UserError, match=str(value)):
        replace(PRESETS["field"], **{rule: value})


def test_the_preset_says_who_stands_in_for_an_absent_person():
    assert NTU120.absent_person == "copy"
    assert PRESETS["field"].absent_person is None and PRESETS["clean"].absent_person == "zero"
