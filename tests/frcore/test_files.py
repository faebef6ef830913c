"""Files in one step: what cannot be written is named, and nothing is left behind."""

import errno
import os
from pathlib import Path

import pytest

from frcore.files import WriteError, atomic_write, check_writable, clean_temps, discard, write_temp


def test_fault_04_a_read_only_file_system_is_said_whatever_the_clean_up_meets(read_only):
    tried = ((atomic_write, "file", "x"), (check_writable, "file"), (check_writable, "new/file"))
    for act, name, *content in tried:
        with pytest.raises(WriteError) as error:
            act(read_only / name, *content)
        assert str(error.value) == f"Cannot write {read_only / name}: Read-only file system."


def test_fault_04_a_failed_rename_is_said_though_the_clean_up_fails_too(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(WriteError, match=r"Cannot write .*file: Read-only"):
        atomic_write(tmp_path / "file", "x")


def test_trying_leaves_nothing_and_makes_no_folder(tmp_path):
    check_writable(tmp_path / "file")
    check_writable(tmp_path / "some" / "new" / "file")
    (tmp_path / "old").write_text("kept")
    check_writable(tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "kept"


def test_a_path_relative_to_here_can_be_tried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable(Path("file"))
    check_writable(Path("new/file"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [("folder", "Is a directory"), ("file/below", "Not a directory"), ("x" * 300, "too long")],
)
def test_fault_04_what_can_never_be_a_file_is_said(tmp_path, name, why):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=rf"Cannot write .*{name}: .*{why}"):
        check_writable(tmp_path / name)


def test_temporary_files_that_cannot_be_removed_are_not_said_to_be(tmp_path, monkeypatch):
    ours = write_temp(tmp_path / "file", "x")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        discard(ours)
        assert clean_temps(tmp_path) == [] and ours.exists()
    assert clean_temps(tmp_path) == [ours] and not ours.exists()
