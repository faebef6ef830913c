import dataclasses
import json
import subprocess
import sys

import pandas as pd
import pytest

from frcore.data.benchmarks import NTU60, NTU120, NW_UCLA, Benchmark
from frcore.data.catalog import GATED, get_benchmark, list_benchmarks, open_store
from frcore.data.fetch import fetch_benchmark
from frcore.data.store import StoreNotFound
from frcore.data.writer import fingerprint
from frcore.errors import UserError
from frcore.skeleton import NTU25


def make(**fields):
    defaults = {
        "name": "toy",
        "skeleton": "coco17",
        "class_names": ("a", "b"),
        "num_persons": 1,
        "num_frames": 8,
        "protocols": ("default",),
    }
    return Benchmark(**(defaults | fields))


def test_nw_ucla_is_as_published():
    assert (NW_UCLA.num_classes, NW_UCLA.skeleton.num_joints, NW_UCLA.num_persons) == (10, 20, 1)
    assert NW_UCLA.num_frames == 52 and NW_UCLA.channels == 3 and NW_UCLA.protocols == ("xview",)
    assert NW_UCLA.class_names[1:3] == ("pick up with two hands", "drop trash")
    assert NW_UCLA.ensemble_weights == {"xview": (0.6, 0.6, 0.4, 0.4)}


def test_every_listed_benchmark_has_a_record_of_its_name():
    assert "nw_ucla" in list_benchmarks() and "synthetic" in list_benchmarks()
    for name in list_benchmarks():
        assert get_benchmark(name).name == name


def test_ntu_has_the_official_actions_in_their_order():
    large, small = get_benchmark("ntu120"), get_benchmark("ntu60")
    assert (large.num_classes, small.num_classes) == (120, 60)
    assert small.class_names == large.class_names[:60]
    assert len(set(large.class_names)) == 120
    assert all(name == name.lower().strip() for name in large.class_names)
    for action, name in {
        1: "drink water", 2: "eat meal", 3: "brush teeth", 12: "writing", 31: "point to something",
        50: "punch/slap", 60: "walking apart", 61: "put on headphone", 84: "play magic cube",
        86: "apply cream on hand", 91: "open a box", 100: "butt kicks", 120: "rock-paper-scissors",
    }.items():  # fmt: skip
        assert large.class_names[action - 1] == name
    for record, second in ((small, "xview"), (large, "xset")):
        assert (record.skeleton.name, record.num_persons, record.channels) == ("ntu25", 2, 3)
        assert record.protocols == ("xsub", second)
        assert set(record.ensemble_weights) == set(record.protocols)


@pytest.mark.parametrize("name", GATED)
def test_gated_benchmarks_say_where_they_come_from_and_what_reads_them(name, tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path))
    assert name in list_benchmarks()
    for call, error in ((open_store, StoreNotFound), (fetch_benchmark, UserError)):
        with pytest.raises(error, match="hand out the skeletons on request") as caught:
            call(name)
        assert f"frcore data prepare {name} --source PATH" in str(caught.value)
    for call in (open_store, get_benchmark):
        with pytest.raises(UserError, match="Did you mean 'ntu60'.*: ntu120, ntu60, nw_ucla, syn"):
            call("ntu600")


def test_unknown_benchmark_names_the_nearest():
    with pytest.raises(UserError, match="Unknown benchmark 'nw-ucla'. Did you mean 'nw_ucla'?"):
        get_benchmark("nw-ucla")


def test_record_survives_json():
    record = make(confusable=((0, 1),), ensemble_weights={"default": (1, 2, 1, 1)}, channels=2)
    again = Benchmark.from_dict(json.loads(json.dumps(record.to_dict())))
    assert again == record
    assert Benchmark.from_dict(NW_UCLA.to_dict()) == NW_UCLA


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": "../x"}, r"'\.\./x'"),
        ({"name": ""}, "benchmark name"),
        ({"class_names": ()}, "no classes"),
        ({"protocols": ()}, "no protocol"),
        ({"protocols": ("a,b",)}, "'a,b'"),
        ({"num_persons": 0}, "num_persons .* 0"),
        ({"num_frames": 1.5}, "num_frames .* 1.5"),
        ({"channels": 4}, "channels .* 4"),
        ({"confusable": ((0, 2),)}, r"\[2\]; expected labels in 0..1"),
        ({"skeleton": "ntu24"}, "Did you mean 'ntu25'"),
    ],
)
def test_wrong_fields_are_named_with_their_value(fields, named):
    with pytest.raises(UserError, match=named):
        make(**fields)


def test_data_package_is_lazy_and_needs_no_torch():
    code = (
        "import sys, frcore.data as d; assert 'pandas' not in sys.modules; "
        "[getattr(d, name) for name in d.__all__]; assert 'torch' not in sys.modules; "
        "assert set(d.__all__) <= set(dir(d)); d.nothing"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1].startswith("AttributeError"), result.stderr


def test_mutual_actions_are_those_between_two_persons():
    names = [NTU120.class_names[k] for k in NTU120.mutual]
    assert len(names) == 26 and NTU60.mutual == NTU120.mutual[:11]
    assert names[0] == "punch/slap" and names[10] == "walking apart"
    assert names[11] == "hit with object" and names[-1] == "rock-paper-scissors"
    with pytest.raises(UserError, match=r"mutual of benchmark 'mine' holds \[2\]"):
        Benchmark("mine", NTU25, ("a", "b"), 2, 64, ("split",), mutual=(2,))


def test_absent_persons_are_zero_or_copies_and_the_fingerprint_knows():
    with pytest.raises(UserError, match="absent_person .* is 'mirror'"):
        Benchmark("mine", NTU25, ("a",), 2, 64, ("split",), absent_person="mirror")
    assert Benchmark.from_dict(NTU120.to_dict()) == NTU120
    rows = pd.DataFrame(
        {"sample_id": ["x"], "label": [0], "content_hash": ["0"], "split_xsub": ["train"],
         "split_xset": ["test"]}
    )  # fmt: skip
    zeros = dataclasses.replace(NTU120, absent_person="zero")
    assert fingerprint(rows, NTU120) != fingerprint(rows, zeros)
