"""Random numbers that belong to a sample, not to a moment: counter-based, equal on every device.

A number is a hash of (seed, epoch, purpose, sample, repeat, counter), so it does not change with
batch order, batch size, workers or the number of devices, and a run can resume in mid-epoch.
The hash is the output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) on int64 tensors,
whose products wrap as unsigned 64-bit ones do.
"""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def _int64(digest: bytes) -> int:
    return int.from_bytes(digest, "little", signed=True)


_GOLDEN = _int64((0x9E3779B97F4A7C15).to_bytes(8, "little"))
_MIX_1 = _int64((0xBF58476D1CE4E5B9).to_bytes(8, "little"))
_MIX_2 = _int64((0x94D049BB133111EB).to_bytes(8, "little"))


def sample_keys(sample_ids: Iterable[str]) -> Tensor:
    """(N,) int64: a 64-bit hash of each sample id, its identity for random numbers."""
    digests = (hashlib.blake2b(s.encode(), digest_size=8).digest() for s in sample_ids)
    return torch.tensor([_int64(d) for d in digests], dtype=torch.int64)


def random_uniform(
    keys: Tensor, count: int, *, seed: int, epoch: int, purpose: str, repeat: Tensor | int = 0
) -> Tensor:
    """Uniform numbers in [0, 1) that depend on nothing but the arguments of their own row.

    Args:
        keys: (n,) int64, from `sample_keys`.
        count: numbers a row; a larger count keeps the first ones.
        seed: of the run.
        epoch: of the run; every epoch draws anew.
        purpose: what the numbers are for; purposes are independent.
        repeat: (n,) int64 or one integer: the how-manieth pass over the sample in this epoch.

    Returns:
        (n, count) float64 with 53 random bits, on the device of `keys`.
    """
    bits = random_bits(keys, count, seed=seed, epoch=epoch, purpose=purpose, repeat=repeat)
    return _shift(bits, 11).double() * 2.0**-53


def random_bits(
    keys: Tensor, count: int, *, seed: int, epoch: int, purpose: str, repeat: Tensor | int = 0
) -> Tensor:
    """(n, count) int64 with 64 random bits each; arguments as `random_uniform`."""
    stream = f"{int(seed)}/{int(epoch)}/{purpose}".encode()
    state = _mix(keys ^ _int64(hashlib.blake2b(stream, digest_size=8).digest()))
    state = _mix(state + repeat)
    counter = torch.arange(1, count + 1, device=keys.device) * _GOLDEN
    return _mix(state[:, None] + counter)


def epoch_order(keys: Tensor, *, seed: int, epoch: int, repeats: int = 1) -> tuple[Tensor, Tensor]:
    """The order in which an epoch visits its samples: by a hash of (seed, epoch, sample, repeat).

    Args:
        keys: (N,) int64, from `sample_keys`.
        seed: of the run.
        epoch: every epoch has its own order.
        repeats: how often an epoch visits each sample.

    Returns:
        index (N * repeats,) int64 into `keys`, and repeat (N * repeats,) int64 in 0..repeats-1.
    """
    index = torch.arange(len(keys), device=keys.device).repeat(repeats)
    repeat = torch.arange(repeats, device=keys.device).repeat_interleave(len(keys))
    bits = random_bits(keys[index], 1, seed=seed, epoch=epoch, purpose="order", repeat=repeat)
    order = bits[:, 0].argsort(stable=True)
    return index[order], repeat[order]


def epoch_batches(
    keys: Tensor, batch_size: int, *, seed: int, epoch: int, repeats: int = 1
) -> list[tuple[Tensor, Tensor]]:
    """The batches of an epoch: (index, repeat) of each, see `epoch_order` and `batch_ends`."""
    order = epoch_order(keys, seed=seed, epoch=epoch, repeats=repeats)
    ends = batch_ends(len(keys) * repeats, batch_size)
    return list(zip(*(o.tensor_split(ends[:-1]) for o in order), strict=True))


def dropout_seed(seed: int, epoch: int, step: int, rank: int = 0) -> int:
    """64 bits for torch's generators, which then depend on nothing but the position.

    Hashed: the generator of the CPU looks at the lower 32 bits only. Processes of a run, by `rank`,
    drop each its own.
    """
    text = f"{seed}/{epoch}/{step}/dropout" + (f"/{rank}" if rank else "")
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's output function: a bijection of 64-bit integers in which every bit matters."""
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def _shift(z: Tensor, by: int) -> Tensor:
    """Logical shift to the right: int64's own one copies the sign bit, the mask removes it."""
    return (z >> by) & ((1 << (64 - by)) - 1)


def batch_ends(views: int, batch_size: int) -> list[int]:
    """Where the batches of an epoch end in its order; the last one may be smaller.

    A single view that is left over goes with the batch before it: batch norm cannot train on one
    value a channel.
    """
    ends = list(range(batch_size, views, batch_size))
    if batch_size > 1 and ends and views - ends[-1] == 1:
        ends.pop()
    return [*ends, views]
