"""Runs jobs in processes that make up one run; a script for the tests.

    python several_processes.py '{"config": {...}, "jobs": [{"do": "train", "out": ..., ...}, ...]}'

Every job is a group of forks of one process that has imported torch, which alone takes seconds. The
parent is to them what torchrun's agent is: it holds the store where they meet. All of it is on the
loopback interface. Prints a JSON list: for each job the exit codes by rank (negative: the signal
that killed it) and the seconds from the first event to the last end.

Jobs have "out" and "ranks" (how many processes; 2), and "do":
    train      `frcore train`; what rank r says goes to "<out>.r", the views it sees, a line a step,
               to "<out>.r.seen". "set" holds changes, "set r" those of rank r alone, "events" what
               happens before the optimiser's step (0: in the first evaluation): [step, rank, what,
               seconds later], where `what` is a signal's number, "raise" or "spoil" (that rank's
               gradients are NaN).
    steps      the same in float64 with frozen batch norm; writes loss, gradients and outcomes of
               every step to "<out>.r.npz".
    talk       writes the test split's logits and features, averaged running statistics, a record
               that was collected twice, and what is said of facts that differ, to "<out>.r.npz".
"""

import hashlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import yaml
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import frcore.evaluation
import frcore.fr_head
import frcore.train
from frcore import cli, ranks, sharing
from frcore.config import load_recipe
from frcore.data import open_store
from frcore.data.augment import ClipPipeline
from frcore.errors import UserError
from frcore.evaluation import forward_split
from frcore.guard import StepGuard
from frcore.optim import build_optimizer
from frcore.recognizer import build_recognizer
from frcore.records import EpochRecord
from frcore.splits import load_splits

CPU = torch.device("cpu")


def main(text: str) -> None:
    plan = json.loads(text)
    config = load_recipe(plan["config"])
    # What is imported late is imported once, not in every fork.
    build_optimizer(build_recognizer(config, open_store(config.benchmark).benchmark), config.optim)
    print(json.dumps([run(job, plan["config"]) for job in plan["jobs"]]))


def run(job: dict, config: dict) -> dict:
    size = job.get("ranks", 2)
    recipe = Path(f"{job['out']}.yaml")
    recipe.write_text(yaml.safe_dump(json.loads(json.dumps(config))))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        address = ("127.0.0.1", port, None, True)
        store = dist.TCPStore(
            *address, wait_for_workers=False, master_listen_fd=os.dup(listening.fileno())
        )
        pids = [fork(rank, size, port, job, config) for rank in range(size)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        ended = time.monotonic()
        del store
    event = Path(f"{job['out']}.event")
    begun = float(event.read_text()) if event.exists() else float("nan")
    return {"exit": codes, "after": ended - begun}


def fork(rank: int, size: int, port: int, job: dict, config: dict) -> int:
    pid = os.fork()
    if pid:
        return pid
    if size > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
        os.environ["LOCAL_WORLD_SIZE"] = str(size)
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "GLOO_SOCKET_IFNAME": "lo"}
    said = os.open(f"{job['out']}.{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    code = 99
    try:
        {"train": train, "steps": steps, "talk": talk}[job["do"]](job, config, rank)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def train(job: dict, config: dict, rank: int) -> None:
    happen(job, rank)
    write_down(Path(f"{job['out']}.{rank}.seen"))
    changed = {**job.get("set", {}), **job.get(f"set {rank}", {})}
    changes = [f"--set={key}={json.dumps(value)}" for key, value in changed.items()]
    cli.app(["train", f"{job['out']}.yaml", "--out", job["out"], *changes], prog_name="frcore")


def happen(job: dict, rank: int) -> None:
    """Makes the job's events happen to this rank."""
    step, done = StepGuard.step, 0

    def do(what: int | str, seconds: float) -> None:
        if isinstance(what, int):
            time.sleep(seconds)
            Path(f"{job['out']}.event").write_text(repr(time.monotonic()))
            os.kill(os.getpid(), what)
        elif what == "raise":
            Path(f"{job['out']}.event").write_text(repr(time.monotonic()))
            raise ZeroDivisionError("of this rank alone")

    def reached(place: int) -> None:
        for number, whose, what, seconds in job.get("events", []):
            if (number, whose) == (place, rank) and seconds:
                threading.Thread(target=do, args=(what, seconds), daemon=True).start()
            elif (number, whose) == (place, rank):
                do(what, 0)

    def eventful_step(self: StepGuard, *args: object) -> torch.Tensor:
        nonlocal done
        done += 1
        reached(done)
        return step(self, *args)

    def eventful_split(*args: object, **options: object) -> tuple:
        reached(0)
        return forward_split(*args, **options)

    def spoiled_sum(parameters: list[nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
        if [done + 1, rank, "spoil", 0] in job.get("events", []):
            parameters[0].grad[...] = float("nan")
        return sum_gradients(parameters, loss)

    sum_gradients = sharing.sum_gradients
    sharing.sum_gradients = spoiled_sum
    StepGuard.step = eventful_step
    frcore.evaluation.forward_split = eventful_split


def write_down(path: Path) -> None:
    """Appends epoch, step, this rank's views (sample id, repeat, digest of what is seen), waits."""
    waits: list[str] = []
    train_step = frcore.train.Trainer._train_step

    class Waits(TorchDispatchMode):
        """Notes operators that make the CPU wait for a device."""

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "equal"):
                waits.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    def watched(
        self: frcore.train.Trainer, index: torch.Tensor, repeat: torch.Tensor, clips: torch.Tensor
    ) -> None:
        rows, share = sharing.part_of(len(index))
        names = [self.splits.train.clips.sample_ids[i] for i in index[rows]]
        seen = [hashlib.sha256(clip.numpy().tobytes()).hexdigest() for clip in clips]
        views = list(zip(names, repeat[rows].tolist(), seen, strict=True)) if share else []
        waits.clear()
        self.guard.read_every = 20  # as on a GPU
        with Waits():
            train_step(self, index, repeat, clips)
        with path.open("a") as file:
            file.write(json.dumps([self.epoch, self.step, views, waits]) + "\n")

    frcore.train.Trainer._train_step = watched


def steps(job: dict, config: dict, rank: int) -> None:
    """Float64, batch norm frozen: what is left differs by the order of sums alone."""
    build, make, step = frcore.train.build_recognizer, ClipPipeline._make, StepGuard.step
    outcomes_of = frcore.fr_head.batch_outcomes
    seen: dict[str, list] = {"loss": [], "gradients": [], "outcomes": [], "counts": []}

    def frozen(*args: object) -> nn.Module:
        model = build(*args).double()
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.momentum = 1.0  # the statistics of the batch below
        clips = torch.randn(16, 3, 8, 25, 1, generator=torch.Generator().manual_seed(1))
        out = model(2 * clips.double())
        for space in model.head.spaces:
            model.head.project(out.stages, len(clips), space)
        for norm in norms:
            norm.eval()
            norm.train = lambda mode=True, norm=norm: norm
        return model

    def watched_outcomes(*args: object) -> frcore.fr_head.Outcomes:
        made = outcomes_of(*args)
        seen["outcomes"].append(torch.cat([made.tp, made.fn, made.fp], 1).numpy())
        return made

    def watched_step(self: StepGuard, loss: torch.Tensor, *args: object) -> torch.Tensor:
        seen["loss"].append(loss.item())
        gradients = [p.grad.flatten() for p in self.parameters if p.grad is not None]
        seen["gradients"].append(torch.cat(gradients).numpy())
        return step(self, loss, *args)

    frcore.train.build_recognizer = frozen
    frcore.fr_head.batch_outcomes = watched_outcomes
    ClipPipeline._make = lambda *args: make(*args).double()
    StepGuard.step = watched_step
    frcore.train.fit(config, out=job["out"], **job.get("set", {}))
    arrays = {f"outcomes_{n}": made for n, made in enumerate(seen["outcomes"])}
    arrays |= {name: np.stack(seen[name]) for name in ("loss", "gradients")}
    np.savez(f"{job['out']}.{rank}.npz", **arrays)


def talk(job: dict, config: dict, rank: int) -> None:
    """Evaluates in three batches of 8, 8 and 4 clips, and in one batch for all."""
    checked = load_recipe(config)
    torch.manual_seed(0)
    store = open_store(checked.benchmark)
    model, arrays = build_recognizer(checked, store.benchmark), {}
    test = load_splits(store, checked, CPU).judges["test"]
    with ranks.joined(ranks.launch(), CPU):
        ranks.wait_for_all()
    with ranks.joined(ranks.launch(), CPU):  # as a second run in the same processes
        for size in (8, 64):
            logits, features = forward_split(
                model, test, batch_size=size, dtype=torch.float32, spaces=("fin.spatial",)
            )
            arrays |= {f"logits_{size}": logits, f"features_{size}": features["fin.spatial"]}
        norm = nn.BatchNorm1d(3)
        norm.running_mean += rank
        norm.running_var += 2 * rank
        sharing.average_norms(norm)
        record = EpochRecord(4, 2)
        record.sums["views"] += 1
        record.sums["predicted"][0, rank] = rank
        record.collect()
        record.collect()
        arrays |= {"views": record.sums["views"], "predicted": record.sums["predicted"]}
        arrays |= {"mean": norm.running_mean, "var": norm.running_var}
        ranks.check_alike(torch="2.13", clips="same")
        try:
            ranks.check_alike(torch="2.13", clips=f"those of {rank}")
        except UserError as error:
            arrays["different"] = np.array(str(error))
        ranks.wait_for_all()
    np.savez(f"{job['out']}.{rank}.npz", **{k: np.asarray(v) for k, v in arrays.items()})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(sys.argv[1])
