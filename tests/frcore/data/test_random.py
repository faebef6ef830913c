"""Counter-based random numbers: known values, their quality, and what they may depend on."""

import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from frcore.data.random import batch_ends, epoch_order, random_bits, random_uniform, sample_keys

KEYS = sample_keys(f"clip{i:05d}" for i in range(2000))
MASK = 2**64 - 1


def uniform(keys=KEYS, count=8, **changes):
    arguments = {"seed": 0, "epoch": 0, "purpose": "test", "repeat": 0} | changes
    return random_uniform(keys, count, **arguments)


def splitmix64(state: int) -> int:
    """The published generator's output function, on Python's unbounded integers."""
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_keys_are_hashes_of_the_sample_id():
    expected = int.from_bytes(hashlib.blake2b(b"clip00007", digest_size=8).digest(), "little")
    assert int(KEYS[7]) & MASK == expected
    assert len(set(KEYS.tolist())) == len(KEYS)


def test_bits_are_a_splitmix64_stream_seeded_by_the_sample():
    digest = hashlib.blake2b(b"3/5/test", digest_size=8).digest()
    state = splitmix64((int(KEYS[1]) & MASK) ^ int.from_bytes(digest, "little"))
    state = splitmix64((state + 2) & MASK)
    expected = [splitmix64((state + i * 0x9E3779B97F4A7C15) & MASK) for i in (1, 2, 3)]
    bits = random_bits(KEYS[1:2], 3, seed=3, epoch=5, purpose="test", repeat=2)
    assert [b & MASK for b in bits[0].tolist()] == expected
    numbers = random_uniform(KEYS[1:2], 3, seed=3, epoch=5, purpose="test", repeat=2)
    assert numbers[0].tolist() == [(b >> 11) / 2**53 for b in expected]


def test_numbers_are_uniform():
    numbers = uniform(count=50).numpy().ravel()
    assert numbers.min() >= 0 and numbers.max() < 1
    error = 1 / np.sqrt(12 * numbers.size)
    assert abs(numbers.mean() - 0.5) < 4 * error
    assert abs(numbers.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / numbers.size)
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert stats.kstest(uniform(count=1).numpy().ravel(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"purpose": "tesu"}, {"repeat": 1}])
def test_another_seed_epoch_purpose_or_repeat_is_independent(change):
    a, b = uniform().numpy().ravel(), uniform(**change).numpy().ravel()
    assert not np.isin(a, b).any()
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(a.size)


def test_samples_and_counters_are_independent():
    numbers = uniform(count=40).numpy()
    by_counter = np.corrcoef(numbers.T)[np.triu_indices(40, 1)]
    by_sample = np.corrcoef(numbers[:300])[np.triu_indices(300, 1)]
    assert abs(by_counter).max() < 5 / np.sqrt(2000)
    assert abs(by_sample.mean()) < 1e-2 and abs(by_sample.std() - 1 / np.sqrt(39)) < 1e-2


def test_a_row_depends_on_nothing_but_its_own_arguments():
    whole = uniform(count=20, repeat=torch.arange(len(KEYS)) % 3)
    some = torch.tensor([17, 3, 900])
    assert torch.equal(uniform(KEYS[some], count=20, repeat=some % 3), whole[some])
    assert torch.equal(uniform(KEYS[some], count=5, repeat=some % 3), whole[some, :5])


def test_epoch_order_is_a_permutation_that_follows_samples_not_positions():
    index, repeat = epoch_order(KEYS, seed=0, epoch=4, repeats=3)
    assert sorted(zip(index.tolist(), repeat.tolist(), strict=True)) == [
        (i, r) for i in range(len(KEYS)) for r in range(3)
    ]
    backwards, again = epoch_order(KEYS.flip(0), seed=0, epoch=4, repeats=3)
    assert torch.equal(KEYS.flip(0)[backwards], KEYS[index]) and torch.equal(again, repeat)


def test_epoch_order_differs_by_epoch_and_seed_and_shows_no_trend():
    first = epoch_order(KEYS, seed=0, epoch=0)[0]
    for other in (epoch_order(KEYS, seed=0, epoch=1)[0], epoch_order(KEYS, seed=1, epoch=0)[0]):
        assert abs(np.corrcoef(first.numpy(), other.numpy())[0, 1]) < 4 / np.sqrt(len(KEYS))
    assert abs(np.corrcoef(first.numpy(), np.arange(len(KEYS)))[0, 1]) < 4 / np.sqrt(len(KEYS))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_bits():
    there = random_bits(KEYS.cuda(), 30, seed=9, epoch=2, purpose="augment", repeat=1)
    assert torch.equal(
        there.cpu(), random_bits(KEYS, 30, seed=9, epoch=2, purpose="augment", repeat=1)
    )


@pytest.mark.parametrize(
    ("views", "size", "ends"),
    [
        (8, 4, [4, 8]),
        (10, 4, [4, 8, 10]),
        (9, 4, [4, 9]),  # no batch of one clip
        (3, 4, [3]),
        (1, 4, [1]),
        (5, 4, [5]),
        (3, 1, [1, 2, 3]),
    ],
)
def test_batches_of_an_epoch(views, size, ends):
    assert batch_ends(views, size) == ends
