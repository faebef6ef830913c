"""`ranks` and `sharing`: environment, parts of a batch, and how one process is left as it is.

What they do together is tested in `faults/test_20_21_22_several_processes.py`.
"""

import os
import re
import signal
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import frcore
from frcore import ranks, sharing
from frcore.callbacks import tell
from frcore.cli import app
from frcore.device import choose_device
from frcore.errors import UserError
from frcore.ranks import Launch, launch
from frcore.residence import is_resident
from frcore.run_dir import WatchedDir
from frcore.sharing import part_of
from frcore.stopping import StopRequest

WHOLE = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
CPU = torch.device("cpu")


@pytest.fixture
def environment(monkeypatch):
    """Sets the environment to these variables of torchrun's, and no others."""

    def put(values):
        for name in (*WHOLE, "TORCHELASTIC_RUN_ID"):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.fixture
def one_of(monkeypatch):
    """Makes this process a rank of several, who are not there."""

    def put(rank, size):
        monkeypatch.setattr(ranks, "_here", Launch(rank, size, rank, size))

    return put


def test_torchrun_s_environment_says_who_this_is(environment):
    environment(WHOLE)
    assert launch() == Launch(rank=3, size=4, local_rank=1, local_size=2)
    run_id = {"TORCHELASTIC_RUN_ID": "none"}  # by torchrun itself, not by a script that does as it
    environment(WHOLE | run_id)
    assert launch() == Launch(3, 4, 1, 2, agent=os.getppid())
    environment(WHOLE | run_id | {"RANK": "0", "WORLD_SIZE": "1"})
    assert launch() == Launch(agent=os.getppid())
    for alone in ({}, {"MASTER_ADDR": "node1"}, WHOLE | {"RANK": "0", "WORLD_SIZE": "1"}):
        environment(alone)
        assert launch() == Launch()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": ""}, "has WORLD_SIZE, LOCAL_RANK .* but not RANK. Start with torchrun"),
        ({"MASTER_PORT": "", "LOCAL_RANK": ""}, "but not LOCAL_RANK, MASTER_PORT"),
        ({"WORLD_SIZE": "two", "RANK": "-1"}, "RANK='-1', WORLD_SIZE='two': expected whole"),
        ({"RANK": "4"}, "RANK=4 must be below WORLD_SIZE=4"),
    ],
)
def test_half_an_environment_is_refused(change, message, environment, tiny_config, tmp_path):
    environment(WHOLE | change)
    with pytest.raises(UserError, match=message):
        frcore.fit(tiny_config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_each_process_has_the_card_of_its_number(monkeypatch):
    second = Launch(rank=3, size=4, local_rank=1, local_size=2)
    assert choose_device("cpu", second) == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name in ("auto", "cuda"):
        assert choose_device(name, second) == torch.device("cuda", 1)
    with pytest.raises(UserError, match="'cuda:0' is one card, and each of this run's 4 processes"):
        choose_device("cuda:0", second)
    assert choose_device("cuda:0", Launch()) == torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="Process 1 .* torch sees 1 CUDA devices"):
        choose_device("auto", second)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("views", [1, 2, 3, 5, 6, 13, 14, 64])
def test_each_view_counts_at_one_rank_and_none_has_fewer_than_two(views, size, one_of):
    counted, shares = [], []
    for rank in range(size):
        one_of(rank, size)
        part = part_of(views)
        mine = list(range(views))[part.rows]
        assert len(mine) >= min(2, views)
        counted += mine if part.share else []
        shares.append(part.share)
        assert part.share in (0, pytest.approx(len(mine) / views))
    assert counted == list(range(views)) and sum(shares) == pytest.approx(1)


def test_a_batch_that_cannot_be_split_is_refused_before_training(
    environment, tiny_config, tmp_path
):
    environment(WHOLE)
    with pytest.raises(UserError, match="train.batch_size=7 .* all 4 processes .* choose 8"):
        frcore.fit(tiny_config, out=tmp_path / "run", **{"train.batch_size": 7})


def test_alone_everything_is_given_back_as_it_is():
    x, weight = torch.ones(2, 3), nn.Parameter(torch.ones(2))
    weight.grad = gradient = torch.ones(2)
    assert sharing.summed(x)[0] is x and ranks.reduce_(x, "max") is x
    assert sharing.join_rows(x, torch.arange(2), 2) is x
    loss = x.sum()
    assert torch.equal(sharing.sum_gradients([weight], loss), loss) and weight.grad is gradient
    model = nn.BatchNorm1d(3)
    assert sharing.share_norms(model, CPU) is model
    sharing.average_norms(model)
    assert ranks.highest(15) == 15 and ranks.from_first(lambda: x) is x
    ranks.check_alike(x=1)
    assert part_of(5) == (slice(0, 5), 1.0)
    assert Launch().backend(CPU) is None


def test_cards_talk_by_nccl_and_hosts_by_gloo():
    assert Launch(0, 2).backend(CPU) == "gloo"
    assert Launch(0, 2).backend(torch.device("cuda", 0)) == "cpu:gloo,cuda:nccl"


def test_batch_norms_are_shared_on_cards_only(one_of, caplog):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    parameters, names = list(model.parameters()), set(model.state_dict())
    one_of(0, 2)
    assert sharing.share_norms(model, CPU) is model
    assert "batch norm sees each one's part" in caplog.text
    shared = sharing.share_norms(model, torch.device("cuda", 0))
    assert isinstance(shared[1], nn.SyncBatchNorm) and set(shared.state_dict()) == names
    assert all(a is b for a, b in zip(shared.parameters(), parameters, strict=True))
    sharing.average_norms(shared)  # theirs are alike already: nobody is asked


def test_clips_of_all_processes_on_a_machine_share_its_memory(one_of, monkeypatch):
    monkeypatch.setattr("frcore.residence.free_memory", lambda device: 100)
    assert is_resident(40, CPU)
    one_of(0, 2)
    assert is_resident(25, CPU) and not is_resident(40, CPU)
    assert is_resident(40, torch.device("cuda", 0))  # each has its own card


def test_a_callback_is_called_as_in_one_process(one_of):
    one_of(0, 2)
    seen = []
    tell([SimpleNamespace(on_end=lambda run: seen.append(ranks.here().size))], "on_end", "run")
    assert seen == [1] and ranks.here().size == 2


def test_a_stop_is_that_of_all():
    others, before = [0, 0, 15], signal.getsignal(signal.SIGTERM)
    with StopRequest(agree=lambda number: max(number, others.pop(0)), once=True) as stop:
        assert (stop.ask(), stop.ask()) == (False, False) and not stop.agreed
        assert stop.ask() and stop.agreed and stop.requested and stop.exit_code == 143
        os.kill(os.getpid(), signal.SIGTERM)  # what torchrun hands on, once and again
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    try:
        os.kill(os.getpid(), signal.SIGTERM)  # and while it leaves
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_process_that_leaves_the_writing_to_another_writes_nothing(tmp_path):
    folder = tmp_path / "run"
    with WatchedDir(folder) as directory:
        directory.write_config({}, config_hash="0", device="cpu")
        directory.append_metrics({"epoch": 1})
        directory.append_arrays("history", 1, {"x": torch.ones(2).numpy()}, fixed={})
        directory.truncate(0)
        directory.save({"model.x": torch.ones(2)}, {"epoch": 1})
        directory.save_best({"model.x": torch.ones(2)}, {"epoch": 1})
        directory.finish(1)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer "
            "[10.0.0.7]:43210",
            " (Connection closed by peer [10.0.0.7])",
        ),
        (
            "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:94, remote process "
            "exited or there was a network error, NCCL version 2.27\nncclRemoteError: ...",
            " (NCCL error in: remote process exited or there was a network error, NCCL version "
            "2.27)",
        ),
        (
            "[../third_party/gloo/gloo/transport/tcp/pair.cc:98] Read error [127.0.0.1]:28086: "
            "Connection reset by peer. This may be the other side's fault.",
            " (Read error [127.0.0.1]: Connection reset by peer)",
        ),
        ("word " * 50, f" ({'word ' * 23}...)"),
        ("", ""),
    ],
)
def test_a_lost_rank_is_named_without_torch_s_own_source(said, shown, one_of):
    for rank, size, who in ((0, 2, "Rank 1"), (1, 2, "Rank 0"), (1, 3, "Another process")):
        one_of(rank, size)
        expected = f"{who} of this run has ended or does not answer{shown}, so this one"
        with pytest.raises(ranks.RankLost, match=re.escape(expected)), ranks._talking():
            raise RuntimeError(said)


def test_who_hears_nothing_of_the_first_speaks_and_is_not_cut_off(environment, monkeypatch):
    store, deaf = torch.distributed.HashStore(), []

    class Watched:
        def wait(self, *args):
            deaf.append(signal.getsignal(signal.SIGTERM))
            return store.wait(*args)

        set, get = store.set, store.get

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ranks, "_store", store)
    monkeypatch.setattr(ranks.dist, "PrefixStore", lambda prefix, store: Watched())
    monkeypatch.setattr(ranks, "_MOMENT", timedelta(milliseconds=50))
    environment(WHOLE)
    assert not ranks.first_says_so("mine")  # not by torchrun: there is nobody to ask
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert not ranks.first_says_so("mine") and deaf == [signal.SIG_IGN]
    environment(WHOLE | {"RANK": "0"})
    assert not ranks.first_says_so("ours")
    environment(WHOLE)
    assert ranks.first_says_so("ours") and not ranks.first_says_so("mine")
    assert signal.getsignal(signal.SIGTERM) == before
    environment({"RANK": "1"})
    assert not ranks.first_says_so("half an environment")


def test_half_an_environment_is_one_message_on_the_command_line(environment):
    environment({"RANK": "1"})
    result = CliRunner().invoke(app, ["train", "synthetic_tiny"])
    assert result.exit_code == 2 and result.stderr.startswith("Error: The environment has RANK")
