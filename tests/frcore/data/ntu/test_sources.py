import zipfile

import pytest

from frcore.data.ntu.contents import Contents
from frcore.data.ntu.sources import list_files, paths_of, read_exclude
from frcore.errors import UserError


def names(listing):
    return [file.name for file in listing.files]


def test_files_are_listed_by_name_from_any_depth(raw_files, write_files, tmp_path):
    write_files(tmp_path / "z" / "deep", dict(list(raw_files.items())[:3]))
    write_files(tmp_path / "a", dict(list(raw_files.items())[3:5]))
    (tmp_path / "readme.txt").write_text("no skeleton")
    listing = list_files([tmp_path], "ntu120")
    assert names(listing) == sorted(list(raw_files)[:5])
    with Contents(listing.sources) as contents:
        assert [contents.read(f) for f in listing.files] == [raw_files[n] for n in names(listing)]


def test_folder_and_zips_list_the_same_files(raw_files, raw_folder, write_files, tmp_path):
    half = len(raw_files) // 2
    parts = dict(list(raw_files.items())[:half]), dict(list(raw_files.items())[half:])
    zips = [write_files(tmp_path / f"{n}.zip", part) for n, part in enumerate(parts)]
    listing = list_files(zips, "ntu120")
    assert names(listing) == names(list_files([raw_folder], "ntu120")) == sorted(raw_files)
    with Contents(zips) as contents:
        assert all(contents.read(file) == raw_files[file.name] for file in listing.files)


def test_files_of_ntu120_alone_are_left_out_of_ntu60(raw_folder, raw_files):
    listing = list_files([raw_folder], "ntu60")
    assert len(listing.files) == len(raw_files) - 4
    assert {item.reason for item in listing.left_out} == {"not of ntu60"}
    assert [item.file[16:] for item in listing.left_out] == ["A061", "A062", "A119", "A120"]


def test_excluded_samples_are_left_out(raw_folder, raw_files):
    exclude = {"S005C001P001R001A053", "S018C001P041R001A061", "S001C001P001R001A060"}
    listing = list_files([raw_folder], "ntu120", exclude)
    gone = {item.file for item in listing.left_out if item.reason == "excluded"}
    assert gone == exclude & set(raw_files) and not gone & set(names(listing))


def test_a_name_that_occurs_twice_is_refused_with_both_places(raw_files, write_files, tmp_path):
    name = "S001C002P001R001A001"
    first = write_files(tmp_path / "a.zip", {name: raw_files[name]})
    second = write_files(tmp_path / "b.zip", {name: raw_files[name]})
    listing = list_files([first, second], "ntu60")
    assert names(listing) == [name] and listing.files[0].source == 0
    (refused,) = listing.refused
    assert refused.reason == "second of its name"
    assert f"in {first} and " in refused.detail and refused.detail.endswith(f"in {second}")
    write_files(tmp_path / "folder" / "x", {name: b""})
    write_files(tmp_path / "folder" / "y", {name: b""})
    assert len(list_files([tmp_path / "folder"], "ntu60").refused) == 1


@pytest.mark.parametrize("name", ["notes", "S001C001P001R001A121", "S001C001P001R001A001 (1)"])
def test_a_name_that_does_not_parse_is_refused(name, raw_files, write_files, tmp_path):
    folder = write_files(tmp_path / "files", {name: b"", "S001C001P001R001A001": b""})
    (refused,) = list_files([folder], "ntu120").refused
    assert refused.file == f"{name}.skeleton" and f"in {folder}: the name " in refused.detail


@pytest.mark.parametrize("member", ["../S001C001P001R001A001.skeleton", "/S001.skeleton", "a\\b"])
def test_a_zip_that_leaves_its_folder_is_refused(member, tmp_path):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("S001C001P001R001A002.skeleton", "1")
        archive.writestr(zipfile.ZipInfo(member), "1")
    with pytest.raises(UserError, match=r"bad.zip is refused: member .* (leaves|plain)"):
        list_files([path], "ntu60")


@pytest.mark.parametrize("name", ["nothing", "empty", "text.zip"])
def test_unusable_sources_are_named(name, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(UserError, match=name):
        list_files([tmp_path / name], "ntu60")


def test_sources_are_given_once(tmp_path):
    assert paths_of("a.zip") == paths_of(["a.zip"])
    for given in (["a.zip", "./a.zip"], []):
        with pytest.raises(UserError, match="source"):
            paths_of(given)


def test_a_source_that_changed_meanwhile_is_named(raw_files, write_files, tmp_path):
    path = write_files(tmp_path / "a.zip", dict(list(raw_files.items())[:2]))
    folder = write_files(tmp_path / "files", dict(list(raw_files.items())[2:4]))
    listing = list_files([path, folder], "ntu120")
    write_files(path, {"S001C001P001R001A009": b"1"})
    for file in folder.iterdir():
        file.unlink()
    with Contents(listing.sources) as contents:
        for file in listing.files:
            with pytest.raises(UserError, match=f"(?s)({file.name}.*a.zip|a.zip|{file.name})"):
                contents.read(file)


def test_the_list_of_excluded_samples_is_read_with_head_and_comments(tmp_path):
    path = tmp_path / "missing.txt"
    path.write_bytes(
        b"\xef\xbb\xbf302 samples have missing or incomplete skeletons.\r\nSample name:\r\n\r\n"
        b"S001C002P005R002A008\r\nS001C002P006R001A008.skeleton\r\n# more\r\n"
        b"  S001C003P002R001A055  \r\nS001C003P002R001A055\r\nS001C003P002R001A0555\r\n\x00\xff\r\n"
    )
    exclude = read_exclude(path)
    assert exclude.names == {
        "S001C002P005R002A008", "S001C002P006R001A008", "S001C003P002R001A055",
    }  # fmt: skip
    assert exclude.unknown == (
        "line 9: S001C003P002R001A0555",
        "line 10: \\x00\\ufffd",
    )


def test_a_list_without_names_or_without_file_is_refused(tmp_path):
    (tmp_path / "list.txt").write_text("nothing\nhere\n")
    with pytest.raises(UserError, match="list.txt holds no name of a sample"):
        read_exclude(tmp_path / "list.txt")
    with pytest.raises(UserError, match="Cannot read the list .*other.txt"):
        read_exclude(tmp_path / "other.txt")
    (tmp_path / "list.txt").write_bytes(b"S001C002P005R002A008\n" * 1_000_000)
    with pytest.raises(UserError, match="larger than 16 MB"):
        read_exclude(tmp_path / "list.txt")


def test_a_folder_of_zips_stands_for_them(raw_files, write_files, tmp_path):
    zips = [write_files(tmp_path / f"{n}.zip", {}) for n in "ba"]
    assert paths_of(tmp_path) == tuple(sorted(zips))
    write_files(tmp_path / "unpacked", dict(list(raw_files.items())[:1]))
    assert paths_of(tmp_path) == (tmp_path,)  # the files themselves, where they are
