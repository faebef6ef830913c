"""Raw files as they are written: the format, and that reading gives back what was written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from frcore.data.ntu.raw import NoBodyError, parse_skeleton
from frcore.data.ntu.raw_fast import read_fast
from frcore.data.ntu.raw_writer import write_skeleton
from frcore.errors import UserError

ID = 72057594037944738


def person(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal((0.2, 0.1, 3), (0.3, 0.5, 0.2), (25, 3))


def test_format_is_that_of_the_recordings():
    joints = person()
    joints[0] = 0.1843969, 0.4286791, 3.712826
    lines = write_skeleton([[(ID, joints), (ID + 1, joints)], []]).decode("ascii").split("\r\n")
    assert lines[0] == "2" and lines[1] == "2" and lines[-2:] == ["0", ""]
    assert len(lines) == 1 + 1 + 2 * 27 + 1 + 1
    for start in (2, 29):
        fields = lines[start].split(" ")
        assert len(fields) == 10 and fields[0] == str(ID + (start == 29))
        assert all(field in {"0", "1", "2"} for field in (*fields[1:7], fields[9]))
        assert lines[start + 1] == "25"
        assert {len(line.split(" ")) for line in lines[start + 2 : start + 27]} == {12}
    fields = lines[4].split(" ")
    assert fields[:3] == ["0.1843969", "0.4286791", "3.712826"]
    assert np.linalg.norm([float(field) for field in fields[7:11]]) == pytest.approx(1, abs=1e-6)
    assert 0 < float(fields[3]) < 512 and 0 < float(fields[4]) < 424  # pixels of depth
    assert 0 < float(fields[5]) < 1920 and 0 < float(fields[6]) < 1080  # and colour
    assert {line.split(" ")[11] for line in lines[4:29]} == {"1", "2"}


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.integers(-(2**63), 2**64 - 1) | st.just(ID),
                hnp.arrays(
                    np.float32, 3, elements=st.floats(-9, 9, width=32) | st.floats(width=32,
                    allow_nan=False, allow_infinity=False), unique=False,
                ),
            ),
            max_size=6,
        ),
        max_size=5,
    )
)  # fmt: skip
def test_whatever_is_written_is_read_back_bit_for_bit(frames):
    frames = [[(i, np.resize(values, (25, 3))) for i, values in bodies] for bodies in frames]
    content = write_skeleton(frames, digits=9)
    seen = [bodies for bodies in frames if bodies]
    if not seen:
        with pytest.raises(NoBodyError):
            parse_skeleton(content)
        return
    clip = parse_skeleton(content)
    assert (clip.num_frames, clip.dropped_frames) == (len(seen), len(frames) - len(seen))
    order = list(dict.fromkeys(i for bodies in seen for i, _ in bodies))
    assert [body.body_id for body in clip.bodies] == order
    for body in clip.bodies:
        there = [(t, j) for t, bodies in enumerate(seen) for i, j in bodies if i == body.body_id]
        assert body.frames.tolist() == [t for t, _ in there]
        assert body.joints.tobytes() == np.stack([j for _, j in there]).tobytes()


@pytest.mark.parametrize("scale", [1, 1e-3, 1e-6, 1e3])
def test_seven_digits_are_read_back_as_they_are_written(scale):
    joints = person() * scale
    content = write_skeleton([[(ID, joints)]])
    expected = np.array([[float(f"{v:.7g}") for v in row] for row in joints]).astype(np.float32)
    (body,) = parse_skeleton(content).bodies
    assert body.joints[0].tobytes() == expected.tobytes()
    assert read_fast(content) is not None


@pytest.mark.parametrize(
    ("body_id", "joints", "named"),
    [
        (ID, np.zeros((20, 3)), r"joints \(20, 3\) .*expected \(25, 3\)"),
        (ID, np.full((25, 3), np.nan), "finite"),
        (2**64, np.zeros((25, 3)), "64-bit"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(body_id, joints, named):
    with pytest.raises(UserError, match=named):
        write_skeleton([[(body_id, joints)]])
