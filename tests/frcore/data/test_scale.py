"""What holds of a store of any size: nothing is held in memory but its table."""

import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frcore.data.benchmarks import NTU120, Benchmark
from frcore.data.clips import ClipRecord
from frcore.data.ntu.protocols import PUBLISHED, parse_name
from frcore.data.store import write_store
from frcore.skeleton import Skeleton

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
STICK = Skeleton("stick", ("hip", "neck", "head", "hand"), ((1, 0), (2, 1), (3, 1)))
BIG = Benchmark("big", STICK, ("a",), 1, 8, ("xsub",))
V, C = 4, 3
CLIPS, FRAMES = 8_000, 600

linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="needs /proc")

# Resident and highest megabytes: getrusage would begin with what the parent process has.
MEMORY = """
import sys, time; from pathlib import Path
def memory(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(what))
"""


# --- opening and checking -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """8,000 clips and 230 MB of frames, of which the disk holds one MB: the rest is a hole."""
    clip = np.ones((1, V, C), np.float32)
    clips = (ClipRecord(f"{i:06}", 0, clip, {"xsub": "train"}) for i in range(CLIPS))
    path = write_store(tmp_path_factory.mktemp("data") / "big", BIG, clips).path
    table = pd.read_csv(path / "samples.csv", dtype=str, na_filter=False)
    size = FRAMES * V * C
    table["num_frames"], table["offset"] = FRAMES, np.arange(CLIPS) * size
    with (path / "clips.npy").open("r+b") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (CLIPS * size,)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 4 * CLIPS * size)
        length = file.seek(0, 2)
    text = table.to_csv(index=False).encode()
    (path / "samples.csv").write_bytes(text)
    record = json.loads((path / "store.json").read_text())
    record["files"]["clips.npy"]["bytes"] = length
    record["files"]["samples.csv"]["sha256"] = hashlib.sha256(text).hexdigest()
    (path / "store.json").write_text(json.dumps(record))
    return path


def said_by(code: str, *args: object) -> list[float]:
    """The numbers that some code prints in a process of its own."""
    command = [sys.executable, "-c", MEMORY + code, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


@linux
def test_opening_takes_memory_for_the_table_only_and_loads_no_torch_or_scipy(large):
    assert (large / "clips.npy").stat().st_size > 230e6
    clips, frames, seconds, megabytes, heavy = said_by(
        """
from frcore.data.catalog import open_store
before, start = memory("VmRSS"), time.process_time()
store = open_store(Path(sys.argv[1]))
store.split("train"), store.copies(), [store.clip_at(row) for row in range(len(store))]
seconds = time.process_time() - start
print(len(store), len(store.clip("000007")), seconds, memory("VmHWM") - before)
print(len({"torch", "scipy"} & set(sys.modules)))
""",
        large,
    )
    assert (clips, frames, heavy) == (CLIPS, FRAMES, 0)
    assert seconds < 1 and megabytes < 40


@linux
def test_checking_holds_a_few_megabytes_at_a_time(large):
    damaged, empty, megabytes = said_by(
        """
from frcore.data.check import check_store
from frcore.data.store import read_store
store = read_store(Path(sys.argv[1]))
before = memory("VmRSS")
report = check_store(store)
print(len(report.damaged), len(report.empty), memory("VmHWM") - before)
""",
        large,
    )
    assert (damaged, empty) == (CLIPS, CLIPS + -CLIPS // FRAMES)  # holes read as zeros
    assert megabytes < 60


# --- the simulated NTU RGB+D 120 ----------------------------------------------------------------


@pytest.fixture(scope="module")
def simulation():
    """The module that makes the simulated set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        return importlib.import_module("scale_store")


def test_all_simulated_names_split_as_the_real_ones_do(simulation):
    names = simulation.all_names()
    assert len(set(names)) == len(names) == simulation.CLIPS == 113_945
    assert names == sorted(names)
    parsed = [parse_name(name) for name in names]
    for protocol, counts in PUBLISHED["ntu120"].items():
        assert Counter(name.splits("ntu120")[protocol] for name in parsed) == counts
    assert {name.action for name in parsed} == set(range(1, 121))
    assert all((name.setup > 17) == (name.subject > 40) == (name.action > 60) for name in parsed)


def test_simulated_clips_are_what_their_names_say(simulation):
    train = {1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38}
    train |= {45, 46, 47, 49, *range(50, 60), 70, 74, 78, *range(80, 87), 89, *range(91, 96)}
    train = (train - {51}) | {97, 98, 100, 103}
    assert len(train) == 53
    clips = list(simulation.SimulatedSet(400))
    lengths = [len(clip.data) for clip in clips]
    assert min(lengths) >= 10 and max(lengths) <= 300 and 60 < np.median(lengths) < 85
    persons = {True: [], False: []}
    for clip in clips:
        name = re.fullmatch(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", clip.sample_id)
        setup, camera, performer, replication, action = map(int, name.groups())
        assert clip.label == action - 1
        assert clip.splits["xsub"] == ("train" if performer in train else "test")
        assert clip.splits["xset"] == ("test" if setup % 2 else "train")
        assert clip.extra == {"subject": performer, "camera": camera, "setup": setup,
                              "replication": replication}  # fmt: skip
        assert clip.data.dtype == np.float32 and np.isfinite(clip.data).all()
        persons[clip.label in NTU120.mutual].append(clip.data.shape[1])
    assert np.mean(persons[True]) > 1.9 and np.mean(persons[False]) < 1.1


def test_a_simulated_clip_depends_on_its_name_alone(simulation):
    few, many = simulation.SimulatedSet(400), simulation.SimulatedSet(1_200)
    assert few.names == simulation.SimulatedSet(400).names
    first = {clip.sample_id: clip.data for clip in few}
    again = {clip.sample_id: clip.data for clip in simulation.SimulatedSet(400)}
    assert all(np.array_equal(first[name], again[name]) for name in first)
    copied = {*few.copies, *many.copies}
    both = [name for name in few.names if name in set(many.names) - copied]
    among_many = {clip.sample_id: clip.data for clip in many}
    assert both
    assert all(np.array_equal(among_many[name], first[name]) for name in both)
    different = {data.tobytes() for data in first.values()}
    assert len(different) == len(first) - len(few.copies)


def test_planted_copies_cross_the_split_and_nothing_else_does(simulation, tmp_path):
    simulated = simulation.SimulatedSet(300)
    store = write_store(tmp_path / "ntu120", NTU120, simulated)
    planted = simulated.copies
    assert planted
    assert store.samples["sample_id"][store.copies(protocol="xsub")].tolist() == [*planted]
    for copy, source in planted.items():
        assert store.clip(copy).tobytes() == store.clip(source).tobytes()
        sides = store.samples.set_index("sample_id")["split_xsub"]
        assert (sides[copy], sides[source]) == ("test", "train")


# --- the benchmark ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_benchmark_runs_all_its_steps_and_clears_up(tmp_path):
    made, out = tmp_path / "made", tmp_path / "bench.json"
    made.mkdir()
    command = [sys.executable, BENCHMARKS / "scale.py", "--sizes", "200", "600", "--out", out]
    env = os.environ | {"TMPDIR": str(made)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert not any(path.name.startswith("tmp") for path in made.iterdir())
    found = json.loads(out.read_text())
    steps = {"write", "open", "check", "batches", "streamed", "predictions"}
    assert set(found["sizes"]["200"]) == steps and set(found["growth"]) == steps
    largest = found["sizes"]["600"]
    assert set(largest) == steps | {"train"}
    assert largest["check"]["copies"] == 1
    assert sum(largest["open"]["xsub"]) == sum(largest["open"]["xset"]) == 600
    assert largest["train"]["predicted"] == largest["open"]["xsub"][1]
    for step in ("batches", "streamed"):
        assert largest[step]["samples"] == largest["open"]["xsub"][0]
    assert all(figures["peak_mb"] >= figures["base_mb"] for figures in largest.values())


def test_growth_is_the_slope_of_the_logarithms():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        scale = importlib.import_module("scale")
    index = pd.Index([1e3, 1e4, 1e5], name="clips")
    tables = {
        "time": pd.DataFrame({"linear": [1, 10, 100], "later": [1, 1, 100.0]}, index),
        "memory": pd.DataFrame({"linear": [5, 5, 5], "later": [1, 2, np.nan]}, index),
    }
    found = scale.growth(tables)
    assert found["linear"] == {
        "time": 1.0, "time_at_the_end": 1.0, "memory": 0.0, "memory_at_the_end": 0.0
    }  # fmt: skip
    assert found["later"] == {"time": 1.0, "time_at_the_end": 2.0}
    assert scale.growth({"time": tables["time"].iloc[:1]}) == {}
