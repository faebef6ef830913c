"""What the doctor finds here, by training's own decisions, and what it advises."""

import dataclasses
import os
import tomllib
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from frcore.config import TrainConfig
from frcore.device import choose_precision
from frcore.doctor import machine
from frcore.doctor.machine import (
    EXTRAS,
    Machine,
    card_advice,
    compile_advice,
    free_disk,
    look_at_machine,
    machine_findings,
    place_findings,
    settings_advice,
    version_findings,
)
from frcore.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
CPU = Machine(
    train=TrainConfig(),
    device=torch.device("cpu"),
    dtype=torch.float32,
    matrix_units=False,
    threads=4,
    cores=4,
    all_cores=4,
    quota=None,
    load=0.2,
    waiting="",
    cuda_build=None,
    driver=False,
    hidden=None,
    card="",
)


def cpu(**changes):
    return dataclasses.replace(CPU, **changes)


def found(findings):
    return {finding.name: finding for finding in findings}


@pytest.fixture(autouse=True)
def no_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_device_precision_and_threads_are_what_training_decides(monkeypatch):
    before = torch.get_num_threads()
    here = look_at_machine(TrainConfig(device="cpu"))
    assert here.threads == torch.get_num_threads() == before
    assert here.dtype is choose_precision("auto", torch.device("cpu"))
    # Whatever they decide is what is told.
    monkeypatch.setattr(machine, "choose_device", {"cuda:3": torch.device("cpu")}.get)
    monkeypatch.setattr(machine, "choose_precision", lambda precision, device: torch.bfloat16)
    here = look_at_machine(TrainConfig(device="cuda:3", threads=before + 2))
    assert (here.device.type, here.precision, here.threads) == ("cpu", "bf16", before + 2)
    assert torch.get_num_threads() == before


def test_a_device_that_is_not_here_is_the_error_of_training():
    with pytest.raises(UserError, match="Device 'cuda:7' is not here"):
        look_at_machine(TrainConfig(device="cuda:7"))


def test_what_is_found_says_why(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    rows = found(machine_findings(cpu()))
    assert "a build without CUDA" in rows["device"].why
    assert rows["precision"].shown == "fp32" and "no AMX" in rows["precision"].why
    assert rows["threads"].shown == "4 of 4 cores" and rows["threads"].why == "OMP_NUM_THREADS=4"
    assert rows["free memory, host"].value > 0
    assert "TF32" not in rows
    chosen = TrainConfig(device="cpu", precision="bf16", threads=4)
    rows = found(machine_findings(cpu(train=chosen, dtype=torch.bfloat16)))
    why = {name: rows[name].why for name in ("device", "precision", "threads")}
    assert set(why.values()) == {"train.device", "train.precision", "train.threads"}
    assert "has AMX" in found(machine_findings(cpu(matrix_units=True)))["precision"].why


def test_a_card_is_named_with_its_memory_and_tf32(monkeypatch):
    monkeypatch.setattr(machine, "free_memory", lambda device: {"cpu": 1, "cuda": 2}[device.type])
    name = "NVIDIA X, compute capability 9.0"
    card = cpu(device=torch.device("cuda"), dtype=torch.bfloat16, matrix_units=True, card=name)
    rows = found(machine_findings(card))
    assert rows["device"].why == name and rows["free memory, card"].value == 2
    assert rows["TF32"].value is False and rows["TF32"].shown == "off"
    assert "8.0 and newer" in rows["precision"].why and "older" not in rows["precision"].why
    assert (
        "older"
        in found(machine_findings(dataclasses.replace(card, matrix_units=False)))["precision"].why
    )
    assert card_advice(card) == [] and settings_advice(card) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cuda_build": "12.8"}, "built for CUDA 12.8 and sees no card: no NVIDIA driver"),
        ({"cuda_build": "12.8", "driver": True, "hidden": ""}, "CUDA_VISIBLE_DEVICES is ''"),
        ({"cuda_build": None, "driver": True}, "a build without CUDA"),
    ],
)
def test_the_reason_for_a_cpu_is_named(changes, why):
    assert why in found(machine_findings(cpu(**changes)))["device"].why


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({}, None),
        ({"driver": True}, "Install torch for CUDA"),
        ({"driver": True, "cuda_build": "12.8"}, "Update the NVIDIA driver"),
        ({"driver": True, "cuda_build": "12.8", "hidden": ""}, None),  # as the user wants it
        ({"cuda_build": "12.8"}, None),  # no card to use
    ],
)
def test_advice_on_cards(changes, advice):
    said = card_advice(cpu(**changes))
    assert said == [] if advice is None else said[0].startswith(advice)


def test_a_card_that_lies_idle_is_mentioned(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "train.device=auto" in card_advice(cpu())[0]


@pytest.mark.parametrize(
    ("changes", "starts"),
    [
        ({}, ()),
        ({"load": 3.1}, ("--set train.threads=1: 3 of 4 cores are busy (load 3.1)", "OMP_WAIT")),
        ({"load": 9.0, "waiting": "OMP_WAIT_POLICY=PASSIVE"}, ("--set train.threads=1: 4 of 4",)),
        ({"load": 3.1, "all_cores": 64}, ()),  # others have the other 60
        ({"load": None}, ()),  # the system does not say
        ({"quota": 2.0}, ("--set train.threads=2: 4 threads share the time of 2 cores",)),
        ({"quota": 0.5}, ("--set train.threads=1: 4 threads share the time of 0.5 cores",)),
        ({"threads": 1}, ("--set train.threads=4: 4 cores are free, and 1 would",)),
        ({"threads": 8}, ("--set train.threads=4: 8 threads share the time of 4 cores",)),
        ({"device": torch.device("cuda"), "load": 9.0}, ()),
    ],
)
def test_advice_on_threads(changes, starts):
    said = settings_advice(cpu(**changes))
    assert len(said) == len(starts)
    assert all(text.startswith(start) for text, start in zip(said, starts, strict=True))


def test_advice_on_precision():
    slow = cpu(train=TrainConfig(precision="bf16"), dtype=torch.bfloat16)
    assert settings_advice(slow)[0].startswith("--set train.precision=fp32: without AMX")
    unused = cpu(train=TrainConfig(precision="fp32"), matrix_units=True)
    assert settings_advice(unused)[0].startswith("--set train.precision=auto: this CPU's matrix")


def test_advice_on_compiling():
    card, compiled = torch.device("cuda"), TrainConfig(compile="default")
    assert compile_advice(cpu()) == compile_advice(cpu(device=card, train=compiled)) == []
    assert "train.compile=off" in compile_advice(cpu(train=compiled))[0]
    assert "train.compile=default" in compile_advice(cpu(device=card))[0]


@pytest.mark.parametrize(
    ("text", "quota"),
    [("max 100000\n", None), ("250000 100000\n", 2.5), ("x\n", None), ("1 0\n", None)],
)
def test_the_quota_of_a_container_is_read(tmp_path, monkeypatch, text, quota):
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    assert machine._quota() is None
    (tmp_path / "cpu.max").write_text(text)
    assert machine._quota() == quota


def test_stores_and_free_disks_are_listed(tmp_path, monkeypatch, synthetic_store):
    rows = found(place_findings())
    assert "synthetic" in rows["data"].value and "nw_ucla" in rows["data"].why
    assert rows["free disk, runs"].value > 0
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "not" / "there"))
    rows = found(place_findings())
    assert rows["data"].value == [] and rows["data"].shown == "none"
    assert rows["free disk, data"].value == free_disk(tmp_path)


def test_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        name: {Requirement(text).name for text in texts}
        for name, texts in project["optional-dependencies"].items()
        if name != "test"
    }
    assert set(EXTRAS) == set(extras)
    assert all(package in extras[name] for name, package in EXTRAS.items())


def test_versions_name_what_is_absent(monkeypatch):
    real = machine._version
    monkeypatch.setattr(machine, "_version", lambda p: None if p == "kaleido" else real(p))
    rows = found(version_findings())
    assert rows["versions"].value["torch"] == torch.__version__
    assert rows["versions"].value["frviz"] == rows["versions"].value["frcore"]
    assert rows["extras"].value["export"] is None and "export absent" in rows["extras"].shown
    assert "export" in rows["extras"].why and "pip install" in rows["extras"].why


def test_the_waiting_policy_is_what_the_environment_says(monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert look_at_machine(TrainConfig(device="cpu")).waiting == "OMP_WAIT_POLICY=passive"
    assert os.environ["OMP_WAIT_POLICY"] == "passive"
