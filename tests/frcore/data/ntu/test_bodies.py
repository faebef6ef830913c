"""Every rule by a body made for it; the values in z say whose frame it is."""

from dataclasses import replace

import numpy as np
import pytest

from frcore.data.ntu.bodies import NoBodyLeft, choose_bodies
from frcore.data.ntu.presets import PRESETS
from frcore.data.ntu.raw import RawBody, RawClip
from frcore.data.packing import Packing, pack_frames
from frcore.errors import UserError
from frcore.skeleton import NTU25

FIELD = replace(PRESETS["field"], center=False)  # so that z stays readable
CLEAN = replace(PRESETS["clean"], center=False)
HEIGHT = np.linspace(0, 2, 25)


def body(who, frames, *, motion=0.5, wide=()):
    """A body of height 2 and width 1, 4 in the frames `wide`; z is `who` +- motion by turns.

    Without wide frames the variances are those of x and y (the same for all), and motion^2.
    """
    frames = np.array(frames)
    joints = np.zeros((len(frames), 25, 3), dtype=np.float32)
    joints[..., 0] = HEIGHT / 2
    joints[..., 1] = HEIGHT
    joints[..., 2] = who + motion * (-1.0) ** np.arange(len(frames))[:, None]
    joints[np.isin(frames, wide), :, 0] *= 4
    return RawBody(who, joints, frames)


def clip(*bodies, frames=None):
    frames = frames or 1 + max(int(b.frames[-1]) for b in bodies)
    return RawClip(frames, 0, bodies)


def owners(chosen):
    """(T, M): whose frame it is, 0 where it is nobody's."""
    z = chosen.joints[..., 2].mean(axis=2)
    return np.where(chosen.joints.any(axis=(2, 3)), (np.round(z / 10) * 10), 0).astype(int)


def runs(column):
    """[(value, count), ...] of a column."""
    change = np.flatnonzero(np.diff(column)) + 1
    return [(int(part[0]), len(part)) for part in np.split(column, change)]


# ---- read ------------------------------------------------------------------------------------


def test_a_single_body_is_kept_whatever_it_is():
    short_and_wide = body(10, range(5), wide=range(5))
    chosen = choose_bodies(clip(short_and_wide), FIELD)
    assert chosen.joints.shape == (5, 1, 25, 3) and chosen.joints.dtype == np.float32
    np.testing.assert_array_equal(chosen.joints[:, 0], short_and_wide.joints)


def test_a_body_that_returns_is_moved_forward_in_time():
    # 20 is there in 0..19 and 40..49: compressed it fills 0..29, the frames that it has not seen.
    returns = body(20, [*range(20), *range(40, 50)], motion=2)
    other = body(10, range(50))
    chosen = choose_bodies(clip(returns, other), FIELD)
    assert runs(owners(chosen)[:, 0]) == [(20, 30), (0, 20)]
    assert runs(owners(chosen)[:, 1]) == [(10, 50)]
    np.testing.assert_array_equal(chosen.joints[:30, 0], returns.joints)


def test_true_intervals_leave_a_body_where_it_was_seen():
    returns = body(20, [*range(20), *range(40, 50)], motion=2)
    chosen = choose_bodies(clip(returns, body(10, range(50))), CLEAN)
    assert runs(owners(chosen)[:, 0]) == [(20, 20), (0, 20), (20, 10)]


def test_a_body_twice_in_a_frame():
    twice = body(20, [*range(15), 14, 15])
    with pytest.raises(UserError, match="first seen in frame 0 .* occurs 17 times, .* 16 frames"):
        choose_bodies(clip(twice), FIELD)
    chosen = choose_bodies(clip(twice, frames=17), FIELD)  # later frames there are take it in
    assert runs(owners(chosen)[:, 0]) == [(20, 17)]
    chosen = choose_bodies(clip(twice), CLEAN)  # the first of the two
    np.testing.assert_array_equal(chosen.joints[14:, 0], twice.joints[[14, 16]])


# ---- denoise ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "kept"), [(11, False), (12, True)])
def test_of_several_bodies_those_of_11_frames_are_dropped(length, kept):
    chosen = choose_bodies(clip(body(10, range(30)), body(20, range(length))), FIELD)
    assert chosen.joints.shape[1] == 1 + kept and chosen.short == 1 - kept


def test_appearances_count_not_the_time_between_first_and_last():
    seldom = body(20, [*range(6), *range(24, 29)])  # 11 appearances within 29 frames
    assert choose_bodies(clip(body(10, range(30)), seldom), FIELD).short == 1
    assert choose_bodies(clip(body(10, range(30)), seldom), CLEAN).short == 1


def test_the_frames_of_dropped_bodies_go_with_them():
    # One is left: its frames are kept, those in which only the short body was are empty.
    chosen = choose_bodies(clip(body(20, range(10)), body(10, range(5, 40))), FIELD)
    assert runs(owners(chosen)[:, 0]) == [(10, 35)] and chosen.joints.shape[1] == 1
    assert (chosen.short, chosen.empty_frames) == (1, 5)


def test_only_short_bodies_leave_nothing():
    with pytest.raises(NoBodyLeft, match="none of its 2 bodies was seen 12 times or more"):
        choose_bodies(clip(body(10, range(11)), body(20, range(5))), FIELD)


def test_a_wide_body_goes_even_if_it_is_the_longest_left_but_the_last_one_stays():
    first, last = body(10, range(30), wide=range(30)), body(20, range(20), wide=range(20))
    chosen = choose_bodies(clip(first, last), FIELD)  # in order, stopping when one is left
    assert runs(owners(chosen)[:, 0]) == [(20, 20)]
    assert (chosen.spread, chosen.empty_frames) == (1, 10)
    last = replace(FIELD, max_spread_share=1.0)
    assert choose_bodies(clip(first, body(20, range(30))), last).spread == 1


def test_one_long_body_left_after_the_short_ones_is_not_filtered():
    wide = body(10, range(30), wide=range(30))
    chosen = choose_bodies(clip(wide, body(20, range(11))), FIELD)
    assert runs(owners(chosen)[:, 0]) == [(10, 30)] and chosen.spread == 0


@pytest.mark.parametrize(("count", "dropped"), [(29, False), (30, False), (31, True)])
def test_the_share_of_wide_frames_decides(count, dropped):
    # 30 of 43 frames are 0.69767, just more than 0.69754; 30 of 44 are 0.68.
    length = 44 if count < 31 else 43
    count = min(count, 30)
    noisy = body(20, range(length), wide=range(count))
    chosen = choose_bodies(clip(body(10, range(length)), noisy), FIELD)
    assert (chosen.spread == 1) is dropped


@pytest.mark.parametrize(
    ("width", "wide"), [(1.5, False), (1.6, False), (np.nextafter(np.float32(1.6), 2), True)]
)
def test_a_frame_is_wide_above_four_fifths_of_its_height(width, wide):
    # Exactly: 4 and 5 are exact in float32, as is 0.8 * 5 in float64.
    scale = np.float32(2.5)
    both = body(20, range(20))
    both.joints[..., 0] = 0
    both.joints[:, 0, 0] = np.float32(width) * scale
    both.joints[..., 1] *= scale
    chosen = choose_bodies(clip(body(10, range(20)), both), FIELD)
    assert chosen.spread == int(wide)


def test_extents_compare_in_float64():
    # float32(0.8) is a little more than 0.8: with a height of 1 the frame is wide.
    both = body(20, range(20))
    both.joints[..., 0] = 0
    both.joints[:, 0, 0] = np.float32(0.8)
    both.joints[..., 1] /= 2
    assert choose_bodies(clip(body(10, range(20)), both), FIELD).spread == 1


def test_motion_is_the_smaller_of_all_and_upright_frames():
    # 20 moves in its wide frames only; 10 moves less than those, more than the others.
    def jumping():
        noisy = body(20, range(40), motion=0, wide=range(10))
        noisy.joints[:10, :, 2] += np.where(np.arange(10) % 2, 3, -3)[:, None]
        return noisy

    calm = body(10, range(40), motion=1)
    assert owners(choose_bodies(clip(jumping(), calm), FIELD))[20].tolist() == [10, 20]
    whole = replace(FIELD, upright_motion=False)
    assert owners(choose_bodies(clip(jumping(), calm), whole))[20].tolist() == [20, 10]
    # and the other way round: upright frames that move more do not count for more
    still = body(20, range(40), motion=0)
    still.joints[:10, :, 1] = 1 + still.joints[:10, :, 1] / 100  # lies down: wide by being low
    still.joints[10:, :, 2] += np.where(np.arange(30) % 2, 1.1, -1.1)[:, None]
    assert owners(choose_bodies(clip(still, calm), FIELD))[20].tolist() == [10, 20]


def test_motion_is_summed_in_float32():
    # Two bodies whose motion is equal in float32, as published, and differs in float64.
    def motion(body, kind):
        return np.var(body.joints.reshape(-1, 3).astype(kind), axis=0).sum()

    for step in range(1, 2000):
        first, second = body(10, range(20)), body(20, range(20))
        second.joints[:, :, 2] -= 10  # the same numbers, but for one
        second.joints[2, 4, 2] += np.float32(step * 1e-6)
        same = motion(first, np.float32) == motion(second, np.float32)
        if same and motion(second, np.float64) > motion(first, np.float64):
            break
    else:
        pytest.fail("no such pair was found")
    chosen = choose_bodies(clip(first, second), FIELD)
    np.testing.assert_array_equal(chosen.joints[:, 0], first.joints)
    np.testing.assert_array_equal(chosen.joints[:, 1], second.joints)


def test_a_body_without_wide_frames_keeps_its_motion():
    first, second = body(10, range(20), motion=1), body(20, range(20), motion=2)
    assert owners(choose_bodies(clip(first, second), FIELD))[5].tolist() == [20, 10]


def test_the_most_moving_body_is_first_and_equal_ones_stay_in_order():
    for order in ((10, 20, 30), (30, 20, 10)):
        bodies = [body(who, range(20), motion=0.5) for who in order[:2]]
        bodies.append(body(order[2], range(20), motion=3))
        chosen = choose_bodies(clip(*bodies), FIELD)
        assert owners(chosen)[5].tolist() == [order[2], order[0]]
        assert chosen.discarded == 1


# ---- slots -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "persons"), [(30, 1), (29, 1), (28, 2)])
def test_bodies_with_at_most_one_frame_in_common_are_one_person(start, persons):
    first = body(10, range(30), motion=2)
    second = body(20, range(start, 60))
    chosen = choose_bodies(clip(first, second), FIELD)
    slot = runs(owners(chosen)[:, 0])
    if persons == 1:
        assert slot == [(10, start), (20, 60 - start)]  # frame 29 is overwritten
        assert not chosen.joints[:, 1].any() and chosen.merged == 1
    else:
        assert slot == [(10, 30), (0, 30)]
        assert runs(owners(chosen)[:, 1]) == [(0, 28), (20, 32)] and chosen.merged == 0


@pytest.mark.parametrize(("start", "persons"), [(29, 1), (28, 2)])
def test_by_frames_one_in_common_is_no_second_person_either(start, persons):
    bodies = body(10, range(30), motion=2), body(20, range(start, 60))
    chosen = choose_bodies(clip(*bodies), CLEAN)
    assert chosen.joints.shape[1] == persons
    assert runs(owners(chosen)[:, 0])[0] == (10, 30)  # and nothing is overwritten


def test_without_overwriting_the_first_keeps_its_frame():
    bodies = body(10, range(30), motion=2), body(20, range(29, 60))
    chosen = choose_bodies(clip(*bodies), replace(FIELD, overwrite=False))
    assert runs(owners(chosen)[:, 0]) == [(10, 30), (20, 30)]


def test_a_joined_body_widens_the_first_slot_also_over_the_gap_between():
    first, second = body(10, range(15), motion=3), body(20, range(45, 60), motion=2)
    third = body(30, range(20, 40), motion=1)  # in the gap, where nobody is
    chosen = choose_bodies(clip(first, second, third), FIELD)
    assert runs(owners(chosen)[:, 0]) == [(10, 15), (0, 20), (20, 15)]
    assert runs(owners(chosen)[:, 1]) == [(0, 15), (30, 20), (0, 15)]
    assert chosen.empty_frames == 10
    free = choose_bodies(clip(first, second, third), CLEAN)  # by frames, the gap is free
    assert runs(owners(free)[:, 0]) == [(10, 15), (30, 20), (20, 15)]
    assert free.joints.shape[1] == 1


def test_the_second_slot_begins_at_frame_0_whatever_is_in_it():
    first = body(10, range(80), motion=3)
    second, third = body(20, range(50, 80), motion=2), body(30, range(10, 40), motion=1)
    chosen = choose_bodies(clip(first, second, third), FIELD)
    assert runs(owners(chosen)[:, 1]) == [(0, 50), (20, 30)] and chosen.discarded == 1
    chosen = choose_bodies(clip(first, second, third), replace(FIELD, second_slot_from_zero=False))
    assert runs(owners(chosen)[:, 1]) == [(0, 10), (30, 30), (0, 10), (20, 30)]
    assert (chosen.discarded, chosen.merged) == (0, 1)


def test_the_second_slot_is_widened_and_overwritten_as_the_first():
    first = body(10, range(80), motion=4)
    second, third = body(20, range(30), motion=3), body(30, range(29, 60), motion=2)
    fourth = body(40, range(45, 80), motion=1)
    chosen = choose_bodies(clip(first, second, third, fourth), FIELD)
    assert runs(owners(chosen)[:, 1]) == [(20, 29), (30, 31), (0, 20)]
    assert (chosen.merged, chosen.discarded) == (1, 1)


def test_the_first_slot_is_tried_first():
    first = body(10, range(40), motion=3)
    second, third = body(20, range(30), motion=2), body(30, range(40, 60), motion=1)
    chosen = choose_bodies(clip(first, second, third), FIELD)
    assert runs(owners(chosen)[:, 0]) == [(10, 40), (30, 20)]
    assert runs(owners(chosen)[:, 1]) == [(20, 30), (0, 30)]


def test_an_empty_second_slot_stays_a_person_or_goes():
    bodies = clip(body(10, range(30), motion=2), body(20, range(30, 60)))
    assert choose_bodies(bodies, FIELD).joints.shape == (60, 2, 25, 3)
    one = choose_bodies(bodies, replace(FIELD, keep_empty_slot=False))
    assert one.joints.shape == (60, 1, 25, 3)


# ---- empty frames and centring ---------------------------------------------------------------


def zero_sum(who, frames, at, value=1.0):
    """A body whose frame `at` sums to exactly 0 without being 0 (`value` 0: is 0)."""
    made = body(who, frames)
    made.joints[at] = value * np.linspace(-1, 1, 25)[:, None]
    made.joints[at, 12] = 0
    return made


def test_frames_that_sum_to_0_are_dropped_where_there_are_several_bodies():
    odd = zero_sum(10, range(30), at=7)
    assert float(odd.joints[7].reshape(-1).sum()) == 0
    chosen = choose_bodies(clip(odd, body(20, range(5))), FIELD)
    assert len(chosen.joints) == 29 and chosen.empty_frames == 1
    by_value = replace(FIELD, empty_frame="all")
    assert len(choose_bodies(clip(odd, body(20, range(5))), by_value).joints) == 30


def test_a_single_body_keeps_its_empty_frames_unless_told():
    nothing = zero_sum(10, range(30), at=7, value=0)
    assert len(choose_bodies(clip(nothing), FIELD).joints) == 30
    assert len(choose_bodies(clip(nothing), CLEAN).joints) == 29


def test_frames_sum_over_both_persons():
    # In frame 7 the two persons cancel each other.
    first, second = body(10, range(30)), body(20, range(30), motion=3)
    second.joints[7] = -first.joints[7]
    assert choose_bodies(clip(first, second), FIELD).empty_frames == 1


@pytest.mark.parametrize("preset", [FIELD, CLEAN, PRESETS["field"]])
def test_a_clip_whose_first_person_is_all_zero_is_refused(preset):
    nothing = RawBody(1, np.zeros((20, 25, 3), np.float32), np.arange(20))
    still = RawBody(2, np.ones((20, 25, 3), np.float32), np.arange(20))  # moves no more than that
    for bodies in ([nothing], [nothing, body(20, range(5))], [nothing, still]):
        with pytest.raises(NoBodyLeft, match="all 20 frames"):
            choose_bodies(clip(*bodies), preset)


def test_both_persons_are_centred_on_the_first_ones_spine_at_the_beginning():
    first, second = body(20, range(5, 30), motion=2), body(10, range(30))
    chosen = choose_bodies(clip(first, second), PRESETS["field"])
    origin = first.joints[0, 1]  # slot 1 is all zero before frame 5
    assert origin.any()
    np.testing.assert_array_equal(chosen.joints[5:, 0], first.joints - origin)
    np.testing.assert_array_equal(chosen.joints[:, 1], second.joints - origin)
    assert not chosen.joints[:5, 0].any() and not chosen.joints[5, 0, 1].any()


def test_a_slot_that_is_empty_goes_back_to_zero_by_its_sum():
    first, second = body(10, range(30), motion=2), zero_sum(20, range(30), at=7)
    chosen = choose_bodies(clip(first, second), PRESETS["field"])
    assert not chosen.joints[7, 1].any() and chosen.joints[7, 0].any()
    by_value = replace(PRESETS["field"], empty_frame="all")
    assert choose_bodies(clip(first, second), by_value).joints[7, 1].any()


def test_a_single_body_that_begins_with_zeros_is_centred_on_its_first_pose():
    late = body(10, range(30))
    late.joints[:3] = 0
    chosen = choose_bodies(clip(late), PRESETS["field"])
    origin = late.joints[3, 1]
    np.testing.assert_array_equal(chosen.joints[3:, 0], late.joints[3:] - origin)
    # as published: zeros of the only body are a pose like any other
    np.testing.assert_array_equal(chosen.joints[:3, 0], np.tile(-origin, (3, 25, 1)))


@pytest.mark.parametrize("preset", ["field", "clean"])
def test_centring_again_changes_no_bit(preset):
    rng = np.random.default_rng(0)
    for trial in range(30):
        starts = [0, *rng.integers(0, 9, size=trial % 3)]
        bodies = [body(10 * k, range(s, 30 + 5 * k)) for k, s in enumerate(starts, 1)]
        for one in bodies:
            one.joints[:] += rng.normal(size=one.joints.shape)
        chosen = choose_bodies(clip(*bodies), PRESETS[preset]).joints
        packed = [pack_frames([chosen], Packing(NTU25, 3, 2, center=on)) for on in (False, True)]
        assert packed[0].rows.numpy().tobytes() == packed[1].rows.numpy().tobytes()
