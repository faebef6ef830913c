"""One run over several processes: which of them this is, and what they tell each other.

`torchrun` starts the processes and numbers them (their ranks). All of them walk through the same
steps, each on its part of a batch; the first one writes and speaks. With one process every function
here gives back what it is given, at no cost.
"""

import logging
import os
import re
import signal
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from frcore.display import SILENT
from frcore.errors import UserError

T = TypeVar("T")

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # which torchrun sets
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
_TORCHRUN = "TORCHELASTIC_RUN_ID"  # which torchrun alone sets
_SOURCE = re.compile(r"\[[^][]*\.\w+:\d+\] |\S*/\S+:\d+,? ?|(?<=\]):\d+")  # and a peer's port
_PATIENCE = timedelta(minutes=10)  # with a process that is there and does not answer
_MOMENT = timedelta(seconds=10)  # in which all processes find a mistake that is in front of all


class RankLost(UserError):
    """Another process of the run has ended or does not answer."""


@dataclass(frozen=True)
class Launch:
    """One of the processes that make up a run."""

    rank: int = 0
    size: int = 1  # processes in all
    local_rank: int = 0  # among those on this machine
    local_size: int = 1
    agent: int | None = None  # torchrun's process, which looks after this one; None without it

    def backend(self, device: torch.device) -> str | None:
        """By what the processes of a run talk: a card's by NCCL, and over the host by Gloo."""
        if self.size == 1:
            return None
        return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


_here = Launch()
_store: "dist.Store | None" = None  # kept: another run in these processes needs it again
_meetings = 0


def launch() -> Launch:
    """Which process this was started as, by the environment that `torchrun` makes.

    Raises:
        UserError: that environment is there in part, or its numbers do not fit together.
    """
    # At once: where the agent has ended, this process has another parent.
    agent = os.getppid() if os.environ.get(_TORCHRUN) else None
    there = [name for name in _NUMBERS if os.environ.get(name)]
    if not there:
        return Launch()
    missing = [name for name in _NUMBERS + _ADDRESS if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"The environment has {', '.join(there)} as one of several processes would, but not "
            f"{', '.join(missing)}. Start with torchrun, which sets them all, or unset these to "
            "train in one process."
        )
    names = (*_NUMBERS, "LOCAL_WORLD_SIZE")
    texts = {name: os.environ.get(name, "1") for name in names}
    wrong = [f"{name}={text!r:.40}" for name, text in texts.items() if not text.isdecimal()]
    if wrong:
        raise UserError(f"{', '.join(wrong)}: expected whole numbers, as torchrun sets them.")
    rank, size, local_rank, local_size = map(int, texts.values())
    if rank >= size:
        raise UserError(f"RANK={rank} must be below WORLD_SIZE={size}, as torchrun sets them.")
    numbers = (rank, size, local_rank, local_size) if size > 1 else ()
    return Launch(*numbers, agent=agent)


@contextmanager
def joined(process: Launch, device: torch.device) -> Iterator[None]:
    """The processes of a run find each other; until the end all but the first are silent.

    Args:
        process: this one; alone it has nobody to wait for.
        device: where it computes.

    Raises:
        RankLost: the others did not come.
    """
    global _here
    if process.size == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _talking():
        dist.init_process_group(
            process.backend(device),
            store=_meeting_place(process),
            rank=process.rank,
            world_size=process.size,
            timeout=_PATIENCE,
        )
    _here = process
    silent = SILENT.set(process.rank > 0)
    disabled = logging.root.manager.disable
    if process.rank > 0:
        logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(disabled)
        SILENT.reset(silent)
        _here = Launch()
        dist.destroy_process_group()


def _meeting_place(process: Launch) -> "dist.Store":
    """The store where the processes find each other; what an earlier run left there is not seen."""
    global _meetings
    _meetings += 1
    return dist.PrefixStore(f"frcore/{_meetings}", _shared_store(process, _PATIENCE))


def _shared_store(process: Launch, patience: timedelta) -> "dist.Store":
    global _store
    if _store is None:
        where = dist.rendezvous("env://", process.rank, process.size, timeout=patience)
        _store = next(where)[0]
    return _store


def first_says_so(text: str) -> bool:
    """Whether the run's first process tells the user the same, so that this one need not.

    All of them find the same mistake in a configuration, before they have joined: by torchrun's
    store the first one lets the others know what it says. They wait for that for some seconds, also
    where torchrun tells them to end: theirs may be the cause of it.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return False  # the first process itself would be the store, and take it along
    before = signal.getsignal(signal.SIGTERM)
    try:
        process = launch()
        if process.size == 1:
            return False
        if process.rank > 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        store = dist.PrefixStore("frcore/said", _shared_store(process, _MOMENT))
        if process.rank == 0:
            store.set("by the first", text)
            return False
        store.wait(["by the first"], _MOMENT)
        return store.get("by the first").decode() == text
    except (RuntimeError, ValueError):  # no answer, no store, no environment of torchrun's
        return False
    finally:
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _talking() -> Iterator[None]:
    """What goes wrong between processes, in words."""
    try:
        yield
    except RuntimeError as error:  # of which torch's errors are
        # Of two it can be but one. Gloo and NCCL name places in their own source.
        other = f"Rank {1 - _here.rank}" if _here.size == 2 else "Another process"
        reason = _SOURCE.sub("", re.split(r"\n|\. ", str(error))[0]).strip()
        reason = f" ({textwrap.shorten(reason, 120, placeholder=' ...')})" if reason else ""
        raise RankLost(
            f"{other} of this run has ended or does not answer{reason}, so this one ends too; what "
            "that one said is the cause."
        ) from error


@contextmanager
def alone() -> Iterator[None]:
    """What this process does on its own, while the others wait for it at the next step."""
    global _here
    before, _here = _here, Launch()
    try:
        yield
    finally:
        _here = before


def here() -> Launch:
    """Which process this is, while they are joined; else the only one."""
    return _here


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    return _here.rank == 0


def reduce_(x: Tensor, how: Literal["sum", "max"] = "sum") -> Tensor:
    """Replaces `x` by the sum or the maximum of all ranks' `x`; the same bits on each."""
    if _here.size > 1:
        with _talking():
            dist.all_reduce(x, dist.ReduceOp.SUM if how == "sum" else dist.ReduceOp.MAX)
    return x


def highest(number: int) -> int:
    """The highest of all ranks' numbers. On the host: no device is waited for."""
    return number if _here.size == 1 else int(reduce_(torch.tensor(number), "max"))


def wait_for_all() -> None:
    """Every rank has come here."""
    highest(0)


@contextmanager
def first_goes_first() -> Iterator[None]:
    """The first rank is through this block before the others begin it: it may make their files."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def from_first(make: Callable[[], T]) -> T:
    """What `make()` gives at the first rank, on all of them."""
    if _here.size == 1:
        return make()
    made = [make() if is_first() else None]
    with _talking():
        dist.broadcast_object_list(made, src=0)
    return made[0]


def check_alike(**facts: Any) -> None:
    """Refuses to go on where ranks differ in what must be the same.

    Raises:
        UserError: on every rank, naming the facts and who has what.
    """
    if _here.size == 1:
        return
    found: list[Mapping[str, Any]] = [{}] * _here.size
    with _talking():
        dist.all_gather_object(found, facts)
    for name in facts:
        values = [other[name] for other in found]
        if any(value != values[0] for value in values):
            listed = ", ".join(f"rank {rank} has {value}" for rank, value in enumerate(values))
            raise UserError(
                f"The processes of this run differ in {name.replace('_', ' ')}: {listed}. Start "
                "them with one command, one installation, and on a file system that they share."
            )
