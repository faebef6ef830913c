"""How fast raw NTU RGB+D files are parsed on one core, against a plain line-by-line parser.

python benchmarks/ntu_raw.py                          # synthetic raw files
python benchmarks/ntu_raw.py --source FOLDER_OR_ZIP   # your download
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ntu_reference import by_numpy, read_line_by_line
from records import machine, write

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
    """Measures the parsers on each file in turn, so that all see the same machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        if arguments.source is None:
            write_raw_set(folder, arguments.files)
        contents = read_files(arguments.source or Path(folder), arguments.files)
    parsers = {
        "parse_skeleton": parse_skeleton,
        "line by line, float()": read_line_by_line,
        "line by line, np.array()": functools.partial(read_line_by_line, metres=by_numpy),
    }
    times: dict[str, list[float]] = {name: [] for name in parsers}
    for content in contents:
        check_equal(parse_skeleton(content), read_line_by_line(content))
        for name, parse in parsers.items():
            times[name].append(seconds(parse, content, arguments.repeats))
    size = sum(map(len, contents)) / 1e6
    print(f"{len(contents)} files, {1000 * size / len(contents):.0f} KB on average, one core")
    ours, found = times["parse_skeleton"], {}
    for name, taken in times.items():
        ratio = statistics.median(t / fast for t, fast in zip(taken, ours, strict=True))
        found[name] = {
            "files_per_s": round(len(taken) / sum(taken)),
            "mb_per_s": round(size / sum(taken), 1),
            "time": round(ratio, 2),
        }
        rates = f"{found[name]['files_per_s']:7} files/s {found[name]['mb_per_s']:7.1f} MB/s"
        print(f"{name:25s} {rates}; time {ratio:5.1f} (median of the files)")
    if arguments.out:
        head = {"what": "parsing raw files of NTU RGB+D, one core", "machine": machine()}
        ratio = found["line by line, float()"]["time"]
        write(arguments.out, head | {"times_line_by_line": ratio, "parsers": found})


if __name__ == "__main__":
    main()
