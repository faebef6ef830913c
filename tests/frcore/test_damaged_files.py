"""Whatever bytes a file has: data come out, or one error that names the file; nothing else.

Raw files, pickles, those of pyskl, the npz of CTR-GCN and archives have such tests of their own.
"""

import hashlib
import io
import json
import logging
import os
import pickle
import random
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import frcore
from frcore.checkpoint import LAST
from frcore.config import load_recipe
from frcore.data import from_arrays, open_store
from frcore.data.check import check_store
from frcore.data.ntu.sources import read_exclude
from frcore.data.ucla import prepare
from frcore.errors import UserError
from frcore.predictions import Predictions
from frcore.run import Run
from frcore.scores import read_scores
from frcore.weights_file import read_weights

IDS, LABELS = list("abcdef"), [0, 1, 2, 2, 1, 0]
SCORES = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
CLIP = "a01_s01_e00_v01"


class Good(NamedTuple):
    """A sound file, what reads it, and the part of it that is changed (all of it: None)."""

    path: Path
    read: Callable[[Path], object]
    part: slice | None = None
    mend: Callable[[], None] = lambda: None  # makes the sums fit again, as an author could


def score_files(folder: Path) -> dict[str, Good]:
    named = dict(zip(IDS, SCORES, strict=True))
    table = pd.DataFrame({"name": IDS, "label": LABELS})
    files = {name: folder / name for name in ("s.pkl", "s.npy", "s.npz", "packed.npz", "s.csv")}
    files["s.pkl"].write_bytes(pickle.dumps(named, 2))
    np.save(files["s.npy"], SCORES)
    np.savez(files["s.npz"], names=IDS, y=LABELS, logits=SCORES)
    np.savez_compressed(files["packed.npz"], names=IDS, y=LABELS, logits=SCORES)
    scores = pd.DataFrame(SCORES, columns=[f"score_{k}" for k in range(3)])
    pd.concat([table, scores], axis=1).to_csv(files["s.csv"], index=False)
    table.assign(pred=LABELS, **{"class": list("xyzzyx")}).to_csv(folder / "c.csv", index=False)
    given = dict(zip(IDS, LABELS, strict=True))
    return {
        "score pickle": Good(files["s.pkl"], lambda path: read_scores(path, labels=given)),
        "score npy": Good(files["s.npy"], lambda path: read_scores(path, labels=LABELS)),
        "score npz": Good(files["s.npz"], read_scores),
        "packed score npz": Good(files["packed.npz"], read_scores),
        "score csv": Good(files["s.csv"], read_scores),
        "class csv": Good(folder / "c.csv", read_scores),
        "predictions": Good(read_scores(files["s.npz"]).save(folder / "p.npz"), Predictions.load),
    }


def label_files(folder: Path) -> dict[str, Good]:
    scores = folder / "of_labels.pkl"
    scores.write_bytes(pickle.dumps(dict(zip(IDS, SCORES, strict=True)), 2))
    rows = [{"file_name": n, "label": k + 1} for n, k in zip(IDS, LABELS, strict=True)]
    (folder / "val_label.pkl").write_bytes(pickle.dumps(rows, 2))
    (folder / "tuple.pkl").write_bytes(pickle.dumps((IDS, LABELS), 4))
    pd.DataFrame({"name": IDS, "label": LABELS}).to_csv(folder / "labels.csv", index=False)
    np.savez(folder / "labels.npz", names=IDS, y_test=np.eye(3)[LABELS])
    return {
        f"labels in {name}": Good(folder / name, lambda path: read_scores(scores, labels=path))
        for name in ("val_label.pkl", "tuple.pkl", "labels.csv", "labels.npz")
    }


def text_files(folder: Path) -> dict[str, Good]:
    config = load_recipe("nw_ucla_joint_frhead")
    recipe = Path(frcore.__file__).parent / "recipes" / "nw_ucla_joint.yaml"
    shutil.copy(recipe, folder / "recipe.yaml")
    (folder / "config.json").write_text(config.model_dump_json(indent=1))
    names = [f"S001C002P00{n}R002A008" for n in range(1, 7)]
    (folder / "missing.txt").write_text("\n".join(["Missing:", *names, "# all", names[0]]) + "\n")
    clip = {"file_name": CLIP, "skeletons": SCORES[:, None].repeat(20, 1).tolist(), "label": 1}
    (folder / "nw_ucla").mkdir()
    (folder / "nw_ucla" / f"{CLIP}.json").write_text(json.dumps(clip))
    return {
        "recipe": Good(folder / "recipe.yaml", lambda path: load_recipe(path).hash),
        "configuration": Good(folder / "config.json", lambda path: load_recipe(path).hash),
        "list to exclude": Good(folder / "missing.txt", read_exclude),
        "clip of NW-UCLA": Good(
            folder / "nw_ucla" / f"{CLIP}.json",
            lambda path: prepare(path.parent, root=folder / "root", overwrite=True),
        ),
    }


def weight_files(folder: Path) -> dict[str, Good]:
    state = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.ones(2)}
    torch.save(state, folder / "w.pt")
    torch.save(state, folder / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, folder / "w.safetensors")
    names = ("w.pt", "old.pt", "w.safetensors")
    return {f"weights in {name}": Good(folder / name, read_weights) for name in names}


def store_files(folder: Path) -> dict[str, Good]:
    clips = [np.random.default_rng(n).normal(size=(3, 20, 3)) for n in range(4)]
    made = {"split": ["train", "train", "test", "val"], "skeleton": "ucla20", "root": folder}
    store = from_arrays("toy", clips, [0, 1, 0, 1], subjects=[1, 2, 3, 4], **made).path

    def look(path: Path) -> None:
        store = open_store(path.parent)
        for row in range(len(store)):
            store.clip_at(row)
        assert str(check_store(store)) and repr(store) and len(store.copies()) == len(store)

    def mend() -> None:
        record = json.loads((store / "store.json").read_text())
        record["files"]["clips.npy"]["bytes"] = (store / "clips.npy").stat().st_size
        table = hashlib.sha256((store / "samples.csv").read_bytes()).hexdigest()
        record["files"]["samples.csv"]["sha256"] = table
        (store / "store.json").write_text(json.dumps(record))

    return {
        "record of a store": Good(store / "store.json", look),
        "table of a store": Good(store / "samples.csv", look, None, mend),
        "clips of a store": Good(store / "clips.npy", look, slice(0, 150), mend),
    }


def run_files(folder: Path, trained: Run) -> dict[str, Good]:
    shutil.copytree(trained.path, folder / "run")
    run = Run(folder / "run")
    (run.path / f"{LAST}.sha256").unlink()  # or every change were one of the sum

    def look(path: Path) -> None:
        run = Run.open(path.parent)
        assert run._repr_html_() and repr(run) and run.environment is not None
        assert run.history is not None and run.calibration is not None

    names = ("metrics.csv", "config.json", "environment.json", "state.json", "history.npz")
    content = (run.path / LAST).read_bytes()
    header = slice(0, 8 + int.from_bytes(content[:8], "little"))
    return {f"{name} of a run": Good(run.path / name, look) for name in names} | {
        "head of a checkpoint": Good(run.path / LAST, frcore.load_recognizer, header)
    }


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, trained: Run) -> dict[str, Good]:
    folder = tmp_path_factory.mktemp("good")
    makers = (score_files, label_files, text_files, weight_files, store_files)
    files = {name: file for make in makers for name, file in make(folder).items()}
    return files | run_files(folder, trained)


READERS = (
    *("score pickle", "score npy", "score npz", "packed score npz", "score csv", "class csv"),
    *("labels in val_label.pkl", "labels in tuple.pkl", "labels in labels.csv"),
    *("labels in labels.npz", "predictions", "recipe", "configuration", "list to exclude"),
    *("clip of NW-UCLA", "weights in w.pt", "weights in old.pt", "weights in w.safetensors"),
    *("record of a store", "table of a store", "clips of a store", "metrics.csv of a run"),
    *("config.json of a run", "environment.json of a run", "state.json of a run"),
    *("history.npz of a run", "head of a checkpoint"),
)


def read_changed(file: Good, mutated: Callable, count: int) -> int:
    """How many of so many changed files were refused, each by its name."""
    rng, refused, whole = random.Random(0), 0, file.path.read_bytes()
    part = file.part or slice(0, len(whole))
    for _ in range(count):
        change = mutated(whole[part], rng)
        file.path.write_bytes(whole[: part.start] + change + whole[part.stop :])
        try:
            file.mend()
            file.read(file.path)
        except UserError as error:
            refused += 1
            assert file.path.stem in str(error), str(error)
    file.path.write_bytes(whole)
    file.mend()
    file.read(file.path)
    return refused


def test_every_reader_is_in_the_list(good) -> None:
    assert set(READERS) == set(good)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize(
    ("changes", "refused"), [(60, 1), pytest.param(400, 11, marks=pytest.mark.slow)]
)
def test_fault_15_changed_bytes_give_data_or_an_error_that_names_the_file(
    what, changes, refused, good, mutated, caplog
) -> None:
    caplog.set_level(logging.CRITICAL)
    assert read_changed(good[what], mutated, changes) >= refused


CLAIMS = """
import sys
from pathlib import Path
from frcore.errors import UserError
from frcore.run import Run
from frcore.scores import read_scores

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

before, refused = peak(), 0
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        print(Run(path).history if path.is_dir() else read_scores(path, labels=[0, 1]))
    except UserError as error:
        assert path.name in str(error), error
        refused += 1
print(refused, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells the peak of memory")
def test_fault_15_nothing_is_allocated_because_a_header_says_so(tmp_path) -> None:
    for bits in (31, 36, 60):  # 8 GB, which could be had, to 4 EB
        header = io.BytesIO()
        claim = {"descr": "<f4", "fortran_order": False, "shape": (2**bits, 1)}
        np.lib.format.write_array_header_1_0(header, claim)
        content = header.getvalue() + bytes(64)
        (tmp_path / f"{bits}.npy").write_bytes(content)
        (tmp_path / f"run{bits}").mkdir()
        for path in (tmp_path / f"{bits}.npz", tmp_path / f"run{bits}" / "history.npz"):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("logits.npy", content)
    env = os.environ | {"PYTHONPATH": str(Path(frcore.__file__).parents[1])}
    command = [sys.executable, "-c", CLAIMS, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    refused, kilobytes = map(int, done.stdout.split())
    assert refused == 9 and kilobytes < 20_000
