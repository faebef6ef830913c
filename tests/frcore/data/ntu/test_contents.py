"""Raw files are read by the places that were listed, or refused with their name."""

import random
import struct
import zipfile

import pytest

from frcore.data.ntu import contents as module
from frcore.data.ntu.contents import Contents
from frcore.data.ntu.sources import list_files
from frcore.errors import UserError

NAME = "S001C002P001R001A001"


def test_a_zip_is_read_without_its_table_of_contents(raw_files, write_files, tmp_path):
    path = write_files(tmp_path / "a.zip", raw_files)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("S032C001P001R001A001.skeleton", b"stored", zipfile.ZIP_STORED)
        archive.writestr("S032C001P001R001A002.skeleton", b"")
        # Between its header and itself stands more: the sizes once again, of 64 bits each.
        with archive.open("S032C001P001R001A003.skeleton", "w", force_zip64=True) as file:
            file.write(b"more")
    listing = list_files([path], "ntu120")
    with zipfile.ZipFile(path) as archive:
        table = archive.start_dir
    path.write_bytes(path.read_bytes()[:table])
    with pytest.raises(UserError, match="no.* zip"):
        list_files([path], "ntu120")
    expected = raw_files | {"S032C001P001R001A001": b"stored", "S032C001P001R001A002": b""}
    expected["S032C001P001R001A003"] = b"more"
    with Contents([path]) as contents:
        assert {file.name: contents.read(file) for file in listing.files} == expected


def change(file, **values):
    """The file, listed with other numbers."""
    return file._replace(stamp=module._MEMBER.pack(*file.member._replace(**values)))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, b"PK\0\0", "changed: the file is not at its place"),
        (6, b"\1\0", "encrypted"),
        (8, b"\0\0", "not at its place"),  # stored: not as listed
        (30, b"X", None),  # the folder's name: it is the same file
        (50, b"S", "not at its place"),  # of the file's name
        (200, b"\xff", "(damaged|decompressing)"),
    ],
)
def test_what_is_not_as_listed_is_refused_where_it_is_read(
    raw_files, write_files, tmp_path, place, value, said
):
    path = write_files(tmp_path / "a.zip", {NAME: raw_files[NAME]})
    (file,) = list_files([path], "ntu60").files
    content = bytearray(path.read_bytes())
    assert content[place : place + len(value)] != value
    content[place : place + len(value)] = value
    path.write_bytes(content)
    with Contents([path]) as contents:
        if said is None:
            assert contents.read(file) == raw_files[NAME]
            return
        with pytest.raises(UserError, match=rf"Cannot read .*{NAME}.skeleton in .*a.zip: .*{said}"):
            contents.read(file)


def test_sizes_that_a_zip_claims_are_held_against_limits_and_content(
    raw_files, write_files, tmp_path
):
    path = write_files(tmp_path / "a.zip", {NAME: raw_files[NAME]})
    (file,) = list_files([path], "ntu60").files
    size, packed = len(raw_files[NAME]), file.member.packed
    wrong = [{"size": size - 1}, {"size": size + 1}, {"crc": file.member.crc ^ 1}]
    wrong += [
        {"packed": packed // 2},
        {"size": 33 << 20},
        {"packed": 33 << 20},
        {"offset": 1 << 62},
    ]
    with Contents([path]) as contents:
        assert contents.read(change(file, packed=packed + 5)) == raw_files[NAME]
        for values in wrong:
            with pytest.raises(UserError, match=f"Cannot read .*{NAME}.skeleton in "):
                contents.read(change(file, **values))


def test_a_file_packed_in_another_way_than_official_zips_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(f"{NAME}.skeleton", b"1\r\n")
    with (
        Contents([path]) as contents,
        pytest.raises(UserError, match=f"{NAME}.*by method 14; expected 8"),
    ):
        contents.read(list_files([path], "ntu60").files[0])


def test_a_damaged_zip_is_refused_or_gives_what_was_packed(raw_files, write_files, tmp_path):
    names = [NAME, "S001C002P003R001A002"]
    path = write_files(tmp_path / "a.zip", {name: raw_files[name][:400] for name in names})
    whole, rng, read = path.read_bytes(), random.Random(0), 0
    for _ in range(600):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(len(content))] = rng.choice(
                (0, 1, 0x7F, 0xFF, rng.randrange(256))
            )
        path.write_bytes(content)
        try:
            listing = list_files([path], "ntu120")
            with Contents([path]) as contents:
                for file in listing.files:
                    text = contents.read(file)
                    read += 1
                    assert text in [raw_files[name][:400] for name in names]
        except UserError:
            pass
    assert read > 100


def test_a_zip_that_speaks_of_exabytes_is_refused(write_files, tmp_path):
    path = write_files(tmp_path / "a.zip", {NAME: b"1\r\n"})
    content, extra = path.read_bytes(), struct.pack("<HHQ", 1, 8, 2**63)  # where it begins, ZIP64
    entry = content.index(b"PK\1\2")
    name_end = entry + 46 + len(f"nturgb+d_skeletons/{NAME}.skeleton")
    table = bytearray(content[entry:name_end] + extra)
    table[30:32], table[42:46] = struct.pack("<H", len(extra)), b"\xff" * 4
    end = bytearray(content[content.index(b"PK\5\6") :])
    end[12:16] = struct.pack("<I", len(table))
    path.write_bytes(content[:entry] + table + end)
    (refused,) = list_files([path], "ntu60").refused
    assert (refused.file, refused.reason) == (NAME, "bad file")
    assert f"Cannot read nturgb+d_skeletons/{NAME}.skeleton in {path}: " in refused.detail
