import os
import zipfile

import pytest

from frcore.data.archive import MB, Limits, open_source
from frcore.errors import UserError


def packed(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_small_member_may_be_as_repetitive_as_it_likes(tmp_path):
    path = packed(tmp_path / "x.zip", {"a.txt": bytes(MB), "b.txt": b""})  # a thousand times
    with open_source(path, ".txt") as source:
        assert source.read("a.txt") == bytes(MB) and source.read("b.txt") == b""
    packed(path, {"a.txt": bytes(MB + 1)})
    with (
        pytest.raises(UserError, match="a.txt' unpacks to more than 100 times its size"),
        open_source(path, ".txt"),
    ):
        pass


def test_fault_16_many_small_members_are_no_way_around_the_ratio(tmp_path):
    limits = Limits(member_bytes=4 * MB)
    members = {f"{n}.txt": bytes(MB) for n in range(4)}
    with open_source(packed(tmp_path / "x.zip", members), ".txt", limits) as source:
        assert len(source) == 4  # together what one may hold
    path = packed(tmp_path / "x.zip", members | {"5.txt": b"1"})
    with (
        pytest.raises(UserError, match="x.zip is refused: it unpacks to 4 MB, more than 100 times"),
        open_source(path, ".txt", limits),
    ):
        pass


def test_fault_16_a_size_that_the_archive_makes_up_for_itself_hides_no_bomb(tmp_path):
    """The table of contents says that its members take 100 kB each, packed."""
    path = packed(tmp_path / "x.zip", {f"{n}.txt": bytes(2 * MB) for n in range(4)})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        real = archive.infolist()[0].compress_size.to_bytes(4, "little")
    assert content.count(real) == 8  # before each member, and in the table
    path.write_bytes(content.replace(real, (100_000).to_bytes(4, "little")))
    with (
        pytest.raises(UserError, match="it unpacks to 8 MB, more than 100 times"),
        open_source(path, ".txt", Limits(member_bytes=4 * MB)),
    ):
        pass


def test_a_foreign_zip_is_a_source_of_nothing_where_it_may_be(tmp_path):
    path = packed(tmp_path / "x.zip", {"../a.avi": b"", "b.json": b""})
    with open_source(path, ".txt", foreign_ok=True) as source:
        assert list(source) == [] and source.aside.others == {".avi": 1, ".json": 1}
    for suffix, allowed in ((".txt", False), (".json", True)):
        with (
            pytest.raises(UserError, match="leaves its folder"),
            open_source(path, suffix, foreign_ok=allowed),
        ):
            pass


def test_a_member_without_a_name_is_refused(tmp_path):
    info = zipfile.ZipInfo("x")
    info.filename = ""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, b"")
    with (
        pytest.raises(UserError, match="member '' has a name that is no plain relative path"),
        open_source(tmp_path / "x.zip", ".txt"),
    ):
        pass


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with (
        pytest.raises(UserError, match="Cannot list .*closed: Permission denied"),
        open_source(tmp_path, ".txt"),
    ):
        pass


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with (
        open_source(tmp_path, ".txt") as source,
        pytest.raises(UserError, match="Cannot read a.txt in .*: it is no plain file"),
    ):
        source.read("a.txt")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_damage_of_any_kind_of_packing_is_named_once(tmp_path, method):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("deep/a.txt", bytes(range(256)) * 40)
    whole = path.read_bytes()
    for place in range(40, len(whole) - 90):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with open_source(path, ".txt") as source:
            try:
                source.read("deep/a.txt")
            except UserError as error:
                assert str(error).count("a.txt") == 1 and "x.zip: " in str(error)
