import multiprocessing
from contextlib import closing

import pytest

from frcore.data.ntu.blocks import plan_blocks, read_block
from frcore.data.ntu.presets import PRESETS
from frcore.data.ntu.sources import list_files
from frcore.data.ntu.workers import convert_blocks
from frcore.errors import UserError


def plan(raw_folder, folder, monkeypatch, size=1):
    monkeypatch.setattr("frcore.data.ntu.blocks.FILES_PER_BLOCK", size)
    files = list_files([raw_folder], "ntu120").files
    folder.mkdir()
    return plan_blocks(files, PRESETS["field"], folder)


def test_processes_write_the_blocks_that_one_writes(raw_folder, tmp_path, monkeypatch):
    blocks = {}
    for workers in (1, 2):
        tasks = plan(raw_folder, tmp_path / str(workers), monkeypatch, size=3)
        done = dict(convert_blocks(tasks, [raw_folder], workers=workers))
        assert sorted(done) == list(range(len(tasks)))
        assert all(read_block(tasks[n]).outcomes == outcomes for n, outcomes in done.items())
        blocks[workers] = {task.path.name: task.path.read_bytes() for task in tasks}
    assert blocks[1] == blocks[2] and multiprocessing.active_children() == []


def test_a_worker_that_dies_ends_the_conversion_with_the_reason(raw_folder, tmp_path, monkeypatch):
    tasks = plan(raw_folder, tmp_path / "work", monkeypatch)
    with (
        closing(convert_blocks(tasks, [raw_folder], workers=2)) as blocks,
        pytest.raises(UserError, match="A worker process ended: .*goes on from there"),
    ):
        for _ in blocks:
            for process in multiprocessing.active_children():
                process.kill()
    assert multiprocessing.active_children() == []
    assert any(read_block(task) for task in tasks)


def test_what_stops_a_worker_stops_all(raw_folder, tmp_path, monkeypatch):
    tasks = plan(raw_folder, tmp_path / "work", monkeypatch, size=3)
    tasks[1] = tasks[1]._replace(path=tmp_path / "nowhere" / "x.block")
    with pytest.raises(UserError, match="Cannot write .*nowhere"):
        list(convert_blocks(tasks, [raw_folder], workers=2))
    assert multiprocessing.active_children() == []
