"""Work ahead: in order, bounded, and nothing left behind however it ends."""

import threading
import time
from contextlib import closing

import pytest

from frcore.data.prefetch import prefetch


def workers():
    return [t for t in threading.enumerate() if t.name.startswith("frcore-prefetch")]


def test_results_come_in_order_whatever_takes_longer():
    def slow_first(number):
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    assert list(prefetch(slow_first, range(12))) == [n * n for n in range(12)]
    assert list(prefetch(slow_first, [])) == [] and workers() == []


def test_so_many_are_made_ahead_and_no_more():
    made = []
    with closing(prefetch(lambda n: made.append(n) or n, range(20), ahead=3)) as results:
        for number in range(5):
            assert next(results) == number
            until = time.monotonic() + 5
            while len(made) < number + 4:
                assert time.monotonic() < until
                time.sleep(0.001)
            time.sleep(0.005)
            assert sorted(made) == list(range(number + 4))  # itself and the next three
    assert len(made) <= 8 and workers() == []


def test_an_error_comes_where_its_result_is_asked_for_and_ends_the_threads():
    def fail_at_two(number):
        if number == 2:
            raise OSError("disk")
        return number

    results = prefetch(fail_at_two, range(50))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="disk"):
        next(results)
    assert workers() == []
    assert list(results) == []


def test_what_has_not_begun_when_it_is_closed_is_never_made():
    begun, go = [], threading.Event()

    def wait(number):
        begun.append(number)
        if number:
            go.wait(5)
        return number

    results = prefetch(wait, range(100), ahead=10)
    assert next(results) == 0
    threading.Timer(0.05, go.set).start()
    results.close()  # waits for the two that have begun
    assert len(begun) <= 3 and workers() == []


def test_an_error_in_the_loop_ends_the_threads():
    with pytest.raises(KeyboardInterrupt), closing(prefetch(str, range(100))) as results:
        for _ in results:
            raise KeyboardInterrupt
    assert workers() == []
