"""Prepares a store in a process of its own, which kills itself. Run by test_prepare.

    python killed_prepare.py '{"source": ..., "root": ..., "workers": 1, "at": "block", "count": 2}'

`at`: "block" (so many are done), "write" (so many files are half written), "clip" (so many are in
the store), "place" (the store is complete, not in place), "remove" (in place, work not removed).
Prints the process ids of its workers before it dies.
"""

import json
import multiprocessing
import os
import signal
import sys

from frcore.data import writer
from frcore.data.ntu import blocks, prepare
from frcore.files import write_temp


def die(*_: object) -> None:
    print(json.dumps([child.pid for child in multiprocessing.active_children()]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(function, count):
    """The generator function, which dies when it has yielded `count` times."""

    def wrapped(*args, **kwargs):
        for number, item in enumerate(function(*args, **kwargs), 1):
            yield item
            if number == count:
                die()

    return wrapped


def main(source: str, root: str, workers: int, at: str, count: int = 1) -> None:
    blocks.FILES_PER_BLOCK = 2
    written = []

    def half_written(path, content):
        written.append(path)
        if len(written) > count:
            write_temp(path, content)
            die()
        return original(path, content)

    if at == "block":
        prepare.convert_blocks = dying_after(prepare.convert_blocks, count)
    elif at == "write":
        original, blocks.atomic_write = blocks.atomic_write, half_written
    elif at == "clip":
        prepare._clips = dying_after(prepare._clips, count)
    elif at == "place":
        writer._put_in_place = die
    elif at == "remove":
        prepare.shutil.rmtree = lambda path, **_: die() if path.name.endswith(".work") else None
    prepare.prepare(source, benchmark="ntu120", workers=workers, root=root)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
