"""The registry of backbones: names, overrides, and wrong inputs named."""

import pytest
import torch

from frcore.backbones import (
    Backbone,
    StageInfo,
    base,
    create_backbone,
    list_backbones,
    register_backbone,
)
from frcore.errors import UserError
from frcore.skeleton import Skeleton

TRIANGLE = Skeleton("triangle", ("a", "b", "c"), bones=((1, 0), (2, 0)))
ALL = list_backbones()


class Flat(Backbone):
    """Not registered unless a test does."""

    def __init__(self, skeleton, *, num_persons, num_frames, in_channels=3, depth=1):
        super().__init__(
            skeleton, num_persons=num_persons, num_frames=num_frames, in_channels=in_channels
        )
        stage = StageInfo("only", in_channels, num_frames, skeleton.num_joints)
        self.stage_info = (stage,) * depth

    def forward_stages(self, x):
        return (x.permute(0, 4, 1, 2, 3).flatten(0, 1),) * len(self.stage_info)


@pytest.fixture
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(base, "_REGISTRY", dict(base._REGISTRY))


def create(name="ctrgcn_tiny", skeleton=TRIANGLE, num_persons=1, num_frames=8, **overrides):
    return create_backbone(
        name, skeleton=skeleton, num_persons=num_persons, num_frames=num_frames, **overrides
    )


def test_names_are_listed_by_pattern():
    assert {"ctrgcn", "ctrgcn_tiny"} <= set(ALL)
    assert sorted(ALL) == ALL
    tiny = list_backbones("*_tiny")
    assert "ctrgcn_tiny" in tiny
    assert all(name.endswith("_tiny") for name in tiny)
    assert list_backbones("ctr*gcn") == ["ctrgcn"]
    assert list_backbones("nothing*") == []


def test_an_unknown_name_is_refused_with_the_nearest_and_all_of_them():
    with pytest.raises(UserError) as error:
        create("ctr-gcn")
    assert "Unknown backbone 'ctr-gcn'. Did you mean 'ctrgcn'?" in str(error.value)
    assert all(name in str(error.value) for name in ALL)


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_override_is_refused_with_the_choices(name):
    with pytest.raises(UserError) as error:
        create(name, widht=8)
    assert f"'{name}': 'widht'. Did you mean 'width'? Available: " in str(error.value)
    listed = str(error.value).split("Available: ")[1].rstrip(".").split(", ")
    assert {"in_channels", "width"} <= set(listed)
    assert not {"num_persons", "num_frames", "skeleton", "sizes"} & set(listed)


def test_an_unknown_skeleton_is_refused():
    with pytest.raises(UserError, match="Unknown skeleton 'ntu26'. Did you mean 'ntu25'"):
        create(skeleton="ntu26")


@pytest.mark.parametrize("field", ["num_persons", "num_frames", "in_channels"])
def test_sizes_below_one_are_refused(field):
    with pytest.raises(UserError, match=f"{field} must be a whole number from 1, not 0"):
        create(**{field: 0})
    with pytest.raises(UserError, match=f"{field} must be a whole number from 1, not 2.5"):
        create(**{field: 2.5})


def test_a_registered_family_is_found_and_its_overrides_are_known(registry):
    @register_backbone
    def flat(skeleton, **overrides) -> Flat:
        return Flat(skeleton, **overrides)

    @register_backbone
    def flat_deep(skeleton, *, num_persons, num_frames, depth=4):
        return Flat(skeleton, num_persons=num_persons, num_frames=num_frames, depth=depth)

    @register_backbone
    def flat_silent(skeleton, **overrides):  # says nothing of what it takes
        return Flat(skeleton, **overrides)

    assert list_backbones("flat*") == ["flat", "flat_deep", "flat_silent"]
    for name in list_backbones("flat*"):
        backbone = create(name, depth=2)
        assert len(backbone(torch.zeros(2, 3, 8, 3, 1))) == 2
        assert backbone.num_features == 3
    with pytest.raises(UserError, match="Available: in_channels, depth"):
        create("flat", dept=2)
    with pytest.raises(UserError, match="Available: depth"):
        create("flat_deep", in_channels=2)
    with pytest.raises(TypeError, match="dept"):
        create("flat_silent", dept=2)


def test_a_name_is_registered_once(registry):
    def ctrgcn(skeleton, **overrides):
        return Flat(skeleton, **overrides)

    with pytest.raises(UserError, match="'ctrgcn' is registered already"):
        register_backbone(ctrgcn)
    assert create("ctrgcn").num_features > 3  # the first one stays


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 8, 24, 2), "V=24 (expected 25)"),
        ((2, 3, 8, 20, 2), "V=20 (expected 25)"),
        ((2, 3, 8, 26, 2), "V=26 (expected 25)"),
        ((2, 4, 8, 25, 2), "C=4 (expected 3)"),
        ((4, 3, 8, 25, 1), "M=1 (expected 2)"),
        ((2, 2, 8, 25, 3), "try .permute(0, 4, 2, 3, 1)"),
        ((2, 8, 2, 25, 3), "try .permute(0, 4, 1, 3, 2)"),  # (N, T, M, V, C)
        ((2, 8, 25, 3, 2), "try .permute(0, 3, 1, 2, 4)"),  # (N, T, V, C, M)
        ((2, 3, 8, 25), "has 4 axes (2, 3, 8, 25); expected 5: (N, C=3, T, V=25, M=2)"),
    ],
)
def test_wrong_axes_are_named_with_expected_actual_and_a_likely_transposition(shape, message):
    backbone = create(skeleton="ntu25", num_persons=2)
    with pytest.raises(UserError) as error:
        backbone(torch.zeros(shape))
    assert str(error.value).startswith("clips ")
    assert message in str(error.value)
    assert ("transposed" in str(error.value)) == ("permute" in message)
