"""Where a run computes: devices by name, precision, and torch's settings put back after it."""

import pytest
import torch

from frcore.device import autocast, choose_device, choose_precision, torch_settings
from frcore.errors import UserError

CPU = torch.device("cpu")


def test_auto_is_cuda_only_where_there_is_one(monkeypatch):
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto").type == ("cuda" if there else "cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cuda:7", "'cuda:7' is not here: torch sees 1 CUDA devices"),
        ("gpu", "Unknown device 'gpu'"),
        ("meta", "Unknown device 'meta'"),
    ],
)
def test_a_device_that_is_not_there_is_a_user_error(monkeypatch, name, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda") == torch.device("cuda")
    with pytest.raises(UserError, match=message):
        choose_device(name)


def test_auto_precision_is_bfloat16_where_matrix_units_are(monkeypatch):
    for tiles in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda tiles=tiles: tiles)
        expected = torch.bfloat16 if tiles else torch.float32
        assert choose_precision("auto", CPU) is expected
    for capability, expected in {(7, 5): torch.float32, (8, 0): torch.bfloat16}.items():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert choose_precision("auto", torch.device("cuda")) is expected
    assert choose_precision("fp32", CPU) is torch.float32
    assert choose_precision("bf16", CPU) is torch.bfloat16


def test_autocast_changes_products_in_bfloat16_only(recwarn):
    x = torch.ones(2, 2)
    for dtype in (torch.float32, torch.bfloat16):
        with autocast(CPU, dtype):
            assert (x @ x).dtype is dtype
    assert not recwarn.list


def test_a_run_leaves_torch_as_it_found_it():
    before, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(KeyError), torch_settings(CPU, before + 1, True):
        assert torch.get_num_threads() == before + 1
        torch.manual_seed(1)
        raise KeyError
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.gpu
def test_deterministic_algorithms_are_on_meanwhile_on_cuda():
    with torch_settings(torch.device("cuda"), None, True):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
