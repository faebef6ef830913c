"""Foreign weight files: tensors come out, nothing is executed, what is wrong is said."""

import os
import pickle

import pytest
import torch

from frcore.checkpoint import save_checkpoint
from frcore.errors import UserError
from frcore.weights_file import read_weights

STATE = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.ones(2)}


class Command:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def refused(source) -> str:
    with pytest.raises(UserError) as error:
        read_weights(source)
    return str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.module.backbone."])
def test_state_dicts_come_out_bare(zipped, wrapper, prefix, tmp_path):
    state = {prefix + key: tensor for key, tensor in STATE.items()}
    content = state if wrapper is None else {"epoch": 3, "optimizer": {"lr": 0.1}, wrapper: state}
    path = tmp_path / "weights.pt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found, called = read_weights(path)
    assert called == str(path) and list(found) == list(STATE)
    assert all(torch.equal(found[key], tensor) for key, tensor in STATE.items())


def test_parameters_are_detached():
    found, _ = read_weights({"w": torch.nn.Parameter(torch.ones(2))})
    assert not found["w"].requires_grad


def test_fault_15_nothing_is_executed(tmp_path):
    made = tmp_path / "made"
    torch.save({"state_dict": STATE, "extra": Command(made)}, tmp_path / "a.pt")
    text = refused(tmp_path / "a.pt")
    assert str(tmp_path / "a.pt") in text and "mkdir" in text and "nothing was executed" in text
    for protocol in (2, 4):
        (tmp_path / "b.pt").write_bytes(pickle.dumps(Command(made), protocol))
        assert str(tmp_path / "b.pt") in refused(tmp_path / "b.pt")
    assert not made.exists()
    torch.load(tmp_path / "a.pt", weights_only=False)  # the command is a real one
    assert made.is_dir()


def test_a_whole_model_is_refused_by_the_name_of_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    text = refused(tmp_path / "model.pt")
    assert "wants 'torch.nn.modules.linear.Linear'" in text
    assert "torch.save(model.state_dict()" in text


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_file_that_was_cut_is_said_to_be_none(share, zipped, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.ones(1000)}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert f"{path} is no whole file of weights" in refused(path)


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.safetensors"])
def test_text_is_no_file_of_weights(name, tmp_path):
    (tmp_path / name).write_text("<html>404 Not Found</html>")
    assert str(tmp_path / name) in refused(tmp_path / name)


def test_what_is_not_there_is_named(tmp_path):
    assert "No file of weights at nowhere.pt" in refused("nowhere.pt")
    assert str(tmp_path) in refused(tmp_path)
    assert "not int" in refused(3)


def test_our_own_checkpoints_are_sent_where_they_are_read(tmp_path):
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, {"model.fc.weight": torch.ones(2)}, {"format": 1})
    assert "is a checkpoint of frcore" in refused(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "is empty"),
        ({"epoch": 3, "fc.weight": torch.ones(2)}, "'epoch' is a int"),
        ({3: torch.ones(2)}, "'3' is a Tensor"),
        ({"state_dict": {"fc.weight": [1.0]}}, "'fc.weight' is a list"),
        ({"w": torch.ones(2), "module.w": torch.ones(2)}, "has 'w' twice"),
    ],
)
def test_what_is_no_state_dict_is_refused(content, said):
    assert said in refused(content)


def test_a_tensor_alone_is_no_state_dict(tmp_path):
    torch.save(torch.ones(3), tmp_path / "weights.pt")
    assert "holds a Tensor; a state dict is expected" in refused(tmp_path / "weights.pt")
