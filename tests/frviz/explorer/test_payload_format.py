"""The bytes between Python and the page."""

import json
import struct

import numpy as np
import pytest

from frviz.explorer.payload_format import ABSENT, decode_clip, encode_clip, pack, unpack


def test_pack_lays_out_as_documented() -> None:
    arrays = {"a": np.array([1, 2, 3], dtype=np.uint8), "b": np.array([[1.5], [-2]], np.float32)}
    payload = pack({"kind": "x", "word": "naïve 名"}, arrays)
    assert payload[:4] == b"FRX1"
    (length,) = struct.unpack_from("<I", payload, 4)
    assert (8 + length) % 8 == 0
    header = json.loads(payload[8 : 8 + length].decode("utf-8"))
    assert header["word"] == "naïve 名"
    assert header["arrays"]["a"] == {"dtype": "u1", "shape": [3], "offset": 0}
    assert header["arrays"]["b"] == {"dtype": "f4", "shape": [2, 1], "offset": 8}
    start = 8 + length
    assert payload[start : start + 3] == b"\x01\x02\x03"
    assert struct.unpack_from("<2f", payload, start + 8) == (1.5, -2.0)
    assert len(payload) == start + 16


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f4"])
def test_unpack_undoes_pack(dtype: str) -> None:
    rng = np.random.default_rng(0)
    array = (100 * rng.random((3, 5, 2))).astype(dtype)
    header, arrays = unpack(pack({"n": 1}, {"x": array, "empty": array[:0]}))
    assert header["n"] == 1
    np.testing.assert_array_equal(arrays["x"], array)
    assert arrays["empty"].shape == (0, 5, 2)


def test_pack_stores_big_endian_and_strided_arrays_as_they_read() -> None:
    array = np.arange(12, dtype=">u2").reshape(3, 4)[:, ::2]
    _, arrays = unpack(pack({}, {"x": array}))
    np.testing.assert_array_equal(arrays["x"], [[0, 2], [4, 6], [8, 10]])


def test_pack_refuses_what_a_browser_cannot_view() -> None:
    with pytest.raises(TypeError, match="'x' is float64"):
        pack({}, {"x": np.zeros(3)})
    with pytest.raises(ValueError):
        pack({"p": float("nan")}, {})


def test_a_name_that_is_no_text_does_not_cost_the_page() -> None:
    header, _ = unpack(pack({"name": "a\ud800b"}, {}))
    assert header["name"] == "a?b"


def test_unpack_names_what_is_no_payload() -> None:
    with pytest.raises(ValueError, match="Not a payload"):
        unpack(b"PK\x03\x04....")


def test_quantised_joints_are_near_the_clip() -> None:
    rng = np.random.default_rng(0)
    clip = rng.normal(size=(20, 2, 25, 3)) * (1, 2, 0.1) + (0, 1, 3)
    header, values = encode_clip(clip, id="s1", title="wave")
    assert values.dtype == np.int16
    assert values.shape == (20, 2, 25, 3)
    longest = np.ptp(clip.reshape(-1, 3), axis=0).max()
    assert np.abs(decode_clip(header, values) - clip).max() < longest / 30_000
    assert (header["id"], header["title"], header["joints"]) == ("s1", "wave", "joints_0")
    assert (header["frames"], header["persons"], header["channels"]) == (20, 2, 3)
    # by the formula of the format: coordinate = origin + value * scale
    t, m, v, c = 7, 1, 3, 2
    coordinate = header["origin"][c] + int(values[t, m, v, c]) * header["scale"]
    assert coordinate == pytest.approx(clip[t, m, v, c], abs=longest / 60_000)


@pytest.mark.parametrize("nothing", [0.0, np.nan])
def test_absent_persons_are_marked_and_do_not_widen_the_grid(nothing: float) -> None:
    clip = np.full((3, 2, 4, 3), 50.0) + np.arange(4)[:, None]
    clip[1, 1] = nothing
    header, values = encode_clip(clip, id="s", title="")
    assert (values[1, 1] == ABSENT).all()
    assert (values[1, 0] != ABSENT).all()
    assert header["scale"] == pytest.approx(1.5 / 32767)
    assert np.isnan(decode_clip(header, values)[1, 1]).all()


def test_a_person_who_never_comes_is_left_out() -> None:
    clip = np.ones((3, 2, 4, 3))
    clip[:, 1] = 0
    header, values = encode_clip(clip, id="s", title="")
    assert header["persons"] == 1
    assert values.shape == (3, 1, 4, 3)
    first_absent = clip[:, ::-1]
    assert encode_clip(first_absent, id="s", title="")[0]["persons"] == 2  # who is second stays so


def test_a_single_unknown_coordinate_stays_unknown() -> None:
    clip = np.random.default_rng(0).normal(size=(2, 5, 3))
    clip[1, 2, 0] = np.nan
    _, values = encode_clip(clip, id="s", title="")
    assert (values == ABSENT).sum() == 1
    assert values[1, 0, 2, 0] == ABSENT


@pytest.mark.parametrize("clip", [np.zeros((4, 2, 5, 3)), np.full((4, 2, 5, 3), np.nan)])
def test_a_clip_of_nobody_is_all_absent(clip: np.ndarray) -> None:
    header, values = encode_clip(clip, id="s", title="")
    assert (values == ABSENT).all()
    assert header["persons"] == 1
    assert json.loads(json.dumps(header, allow_nan=False)) == header


def test_one_point_and_huge_numbers_are_encoded() -> None:
    point, values = encode_clip(np.full((1, 1, 3), 7.0), id="s", title="")
    np.testing.assert_allclose(decode_clip(point, values), 7)
    huge = np.array([[[-1e308, 0, 0], [1e308, 1, 1]]])
    header, values = encode_clip(huge, id="s", title="")
    np.testing.assert_allclose(decode_clip(header, values)[0, 0, :, 0], huge[0, :, 0], rtol=1e-4)


def test_flat_clips_of_pixels_are_turned() -> None:
    clip = np.array([[[10.0, 100], [20, 300]]])  # (1, 2, 2); y grows downwards
    header, values = encode_clip(clip, id="s", title="", joints="mine", y_down=True)
    np.testing.assert_allclose(
        decode_clip(header, values)[0, 0], [[10, -100], [20, -300]], atol=0.01
    )
    assert (header["channels"], header["joints"]) == (2, "mine")
    assert clip[0, 0, 1] == 100  # the caller's array stays
