"""Named axes: sizes come back, and errors say what is wrong and how to mend it."""

import numpy as np
import pytest
import torch

from frcore.errors import UserError
from frcore.shapes import check_shape

CLIP = np.zeros((2, 3, 8, 25, 1))


def test_sizes_come_back_by_name():
    assert check_shape(CLIP, "N C T V M", C=3, V=25) == {"N": 2, "C": 3, "T": 8, "V": 25, "M": 1}
    assert check_shape(np.zeros(0), "frames") == {"frames": 0}
    assert check_shape(np.float32(1), "") == {}


def test_an_axis_named_twice_must_agree():
    assert check_shape(np.zeros((4, 4, 3)), "V V C") == {"V": 4, "C": 3}
    with pytest.raises(UserError, match=r"shape \(4, 5, 3\); expected \(V, V, C\): axes disagree"):
        check_shape(np.zeros((4, 5, 3)), "V V C")


def test_every_wrong_axis_is_named_with_expected_and_actual():
    with pytest.raises(UserError) as error:
        check_shape(CLIP, "N C T V M", name="clips", C=2, V=20, M=1)
    assert str(error.value) == (
        "clips has shape (2, 3, 8, 25, 1); expected (N, C=2, T, V=20, M=1): "
        "C=3 (expected 2), V=25 (expected 20)."
    )


def test_a_wrong_number_of_axes_is_said_first():
    with pytest.raises(UserError) as error:
        check_shape(CLIP[0], "N C T V M", name="clips", V=25)
    assert str(error.value) == ("clips has 4 axes (3, 8, 25, 1); expected 5: (N, C, T, V=25, M).")


@pytest.mark.parametrize(
    "order",
    [(0, 1, 3, 2, 4), (0, 2, 3, 1, 4), (0, 4, 2, 3, 1)],
    ids=["V<->T", "N T V C M", "M<->C"],
)
def test_fault_11_the_likely_transposition_undoes_what_was_done(order):
    expected = {"C": 3, "V": 25, "M": 1}
    transposed = CLIP.transpose(order)
    with pytest.raises(UserError) as error:
        check_shape(transposed, "N C T V M", **expected)
    advice = str(error.value).split("try .transpose(")[1].split(")")[0]
    mended = transposed.transpose([int(i) for i in advice.split(",")])
    assert check_shape(mended, "N C T V M", **expected) == dict(
        zip("NCTVM", CLIP.shape, strict=True)
    )


def test_tensors_get_the_method_that_tensors_have():
    tensor = torch.zeros(2, 25, 3)
    with pytest.raises(UserError, match=r"try .permute\(0, 2, 1\)"):
        check_shape(tensor, "N C V", C=3, V=25)
    assert tensor.permute(0, 2, 1).shape == (2, 3, 25)


def test_no_transposition_is_suggested_where_none_fits():
    with pytest.raises(UserError) as error:
        check_shape(CLIP, "N C T V M", V=24)
    assert "transposed" not in str(error.value)
