"""How fast raw NTU RGB+D files are parsed on one core, against a plain line-by-line parser.

python benchmarks/ntu_raw.py                          # synthetic raw files
python benchmarks/ntu_raw.py --source FOLDER_OR_ZIP   # your download
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ntu_reference import read_line_by_line

from frcore.data.archive import open_source
from frcore.data.ntu.raw import NoBodyError, RawClip, parse_skeleton
from frcore.data.ntu.raw_synthetic import write_raw_set


def read_files(source: Path, count: int) -> list[bytes]:
    """Files with a body, from all over the source."""
    with open_source(source, ".skeleton") as files:
        names = list(files)
        contents = [files.read(name) for name in names[:: max(1, len(names) // count)]]
    return [content for content in contents[:count] if has_body(content)]


def has_body(content: bytes) -> bool:
    """Whether there is anything to read."""
    try:
        parse_skeleton(content)
    except NoBodyError:
        return False
    return True


def check_equal(clip: RawClip, expected: list[tuple[int, list[np.ndarray], list[int]]]) -> None:
    """Stops unless both parsers read the same, bit for bit."""
    found = [(body.body_id, body.joints.tobytes(), body.frames.tolist()) for body in clip.bodies]
    if found != [(i, np.stack(joints).tobytes(), frames) for i, joints, frames in expected]:
        raise SystemExit("The parsers differ.")


def seconds(parse: Callable[[bytes], object], content: bytes, repeats: int) -> float:
    """The shortest of some runs: what disturbs them only adds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        parse(content)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measures both parsers on each file in turn, so that both see the same machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        if arguments.source is None:
            write_raw_set(folder, arguments.files)
        contents = read_files(arguments.source or Path(folder), arguments.files)
    fast, plain = [], []
    for content in contents:
        check_equal(parse_skeleton(content), read_line_by_line(content))
        fast.append(seconds(parse_skeleton, content, 4 * arguments.repeats))
        plain.append(seconds(read_line_by_line, content, arguments.repeats))
    size = sum(map(len, contents)) / 1e6
    print(f"{len(contents)} files, {1000 * size / len(contents):.0f} KB on average, one core")
    for name, times in (("parse_skeleton", fast), ("line by line, float()", plain)):
        total = sum(times)
        print(f"{name:22s} {len(times) / total:7.0f} files/s {size / total:7.1f} MB/s")
    ratio = statistics.median(p / f for p, f in zip(plain, fast, strict=True))
    print(f"{ratio:.1f} times as fast (median of the files)")


if __name__ == "__main__":
    main()
