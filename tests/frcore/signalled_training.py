"""Trains in processes that send themselves a signal at a chosen moment; a script for the tests.

    python signalled_training.py '{"config": {...}, "jobs": [{"out": ..., "event": "step",
                                   "number": 3, "signal": 9}, ...]}'

Every job is a fork of one process that has imported torch, which alone takes seconds. Moments are
counted from 1: "step" is between the optimiser's step and the record of it, "evaluate" before a
batch of an evaluation, "publish NAME" before NAME is renamed into place; a job's "again" is a
moment like the first, of the same signal once more. Prints a JSON list: each job's exit code
(negative: the signal that killed it) and the seconds it took after the first signal.
"""

import json
import os
import sys
import time
import traceback
from collections import Counter

import frcore.checkpoint
import frcore.evaluation
import frcore.files
from frcore.config import RunConfig, load_recipe
from frcore.data import open_store
from frcore.guard import StepGuard
from frcore.optim import build_optimizer
from frcore.recognizer import build_recognizer
from frcore.train import fit


def main(text: str) -> None:
    plan = json.loads(text)
    config = load_recipe(plan["config"])
    # What is imported late is imported once, not in every fork.
    build_optimizer(build_recognizer(config, open_store(config.benchmark).benchmark), config.optim)
    results = []
    for job in plan["jobs"]:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os._exit(child(config, job, write))
        _, status = os.waitpid(pid, 0)
        ended = time.monotonic()
        os.close(write)
        with os.fdopen(read) as pipe:
            sent = pipe.read()
        results.append(
            {"exit": os.waitstatus_to_exitcode(status), "after": ended - float(sent or "nan")}
        )
    print(json.dumps(results))


def child(config: RunConfig, job: dict, pipe: int) -> int:
    seen: Counter[str] = Counter()

    def reached(event: str) -> None:
        seen[event] += 1
        now = [event, seen[event]]
        if now == [job["event"], job["number"]]:
            os.write(pipe, repr(time.monotonic()).encode())
            os.kill(os.getpid(), job["signal"])
        elif now == job.get("again"):
            os.kill(os.getpid(), job["signal"])

    announce(reached)
    try:
        fit(config, out=job["out"])
    except SystemExit as stop:
        return int(stop.code)
    except BaseException:
        traceback.print_exc()
        return 99
    return 0


def announce(reached) -> None:
    """Wraps what makes an event."""
    step, publish = StepGuard.step, frcore.files.publish
    stopped_autocast = frcore.evaluation.autocast

    def step_then_tell(*args):
        ok = step(*args)
        reached("step")
        return ok

    def tell_then_publish(source, target):
        reached(f"publish {target.name}")
        publish(source, target)

    def tell_then_autocast(*args):
        reached("evaluate")
        return stopped_autocast(*args)

    StepGuard.step = step_then_tell
    frcore.files.publish = frcore.checkpoint.publish = tell_then_publish
    frcore.evaluation.autocast = tell_then_autocast


if __name__ == "__main__":
    main(sys.argv[1])
