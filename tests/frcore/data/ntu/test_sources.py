import os
import zipfile

import pytest

from frcore.data.ntu.blocks import convert
from frcore.data.ntu.contents import Contents
from frcore.data.ntu.presets import PRESETS
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
    with pytest.raises(UserError, match="No source was given"):
        paths_of([])


def test_a_source_that_comes_twice_is_refused(raw_files, write_files, tmp_path):
    (tmp_path / "in").mkdir()
    path = write_files(tmp_path / "in" / "a.zip", dict(list(raw_files.items())[:2]))
    (tmp_path / "link.zip").symlink_to(path)
    for given in ([path, tmp_path / "in" / ".." / "in" / "a.zip"], [tmp_path / "in", path]):
        with pytest.raises(UserError, match=r"same source is given more than once: .*a\.zip"):
            list_files(given, "ntu60")
    with pytest.raises(UserError, match=r"same source is given more than once"):
        list_files([tmp_path], "ntu60")


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


def test_a_folder_is_searched_for_files_and_zips_to_any_depth(raw_files, write_files, tmp_path):
    parts = [dict(list(raw_files.items())[n::4]) for n in range(4)]
    folder = tmp_path / "downloads"
    write_files(folder, parts[0])
    write_files(folder / "deep" / "er", parts[1])
    write_files(folder / "b.zip", parts[2])
    write_files(folder / "deep" / "a.zip", parts[3]).rename(folder / "deep" / "A.ZIP")
    listing = list_files([folder], "ntu120")
    assert names(listing) == sorted(raw_files) and listing.notices == []
    assert listing.sources == [folder, folder / "b.zip", folder / "deep" / "A.ZIP"]
    with Contents(listing.sources) as contents:
        assert all(contents.read(file) == raw_files[file.name] for file in listing.files)
    for given in (folder / "b.zip", folder / "deep"):
        assert set(names(list_files([given], "ntu120"))) < set(raw_files)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_suffix_in_capitals_is_one(raw_files, tmp_path, zipped):
    content, sample = raw_files["S001C002P001R001A001"], "S001C002P001R001A00"
    for number, suffix in enumerate(("SKELETON", "Skeleton", "skeleton"), 1):
        (tmp_path / f"{sample}{number}.{suffix}").write_bytes(content)
    source = tmp_path
    if zipped:
        source = tmp_path / "all.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in tmp_path.glob("S*"):
                archive.write(path, path.name)
    listing = list_files([source], "ntu60")
    assert names(listing) == [f"{sample}{number}" for number in (1, 2, 3)]
    with Contents(listing.sources) as contents:
        assert all(contents.read(file) == content for file in listing.files)
    (tmp_path / "list.txt").write_text(f"{sample}1.SKELETON")
    assert read_exclude(tmp_path / "list.txt").names == {f"{sample}1"}


def test_what_lies_beside_is_left_aside_and_named(raw_files, write_files, tmp_path):
    folder = write_files(tmp_path / "files", dict(list(raw_files.items())[:2]))
    name = "S001C002P001R001A009.skeleton"
    for hidden in (f"._{name}", f".old/{name}", f"__MACOSX/{name}", ".x.zip"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"\0\5")
    for other in ("readme.txt", "more.TXT", "LICENSE", "deep.skeleton.bak"):
        (folder / other).touch()
    (folder / "linked").symlink_to(tmp_path)
    with zipfile.ZipFile(folder / "videos.zip", "w") as archive:  # as a raw zip it were refused
        archive.writestr("../S001C001P001R001A001_rgb.avi", bytes(2 << 20))
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr(f"x/{name}", raw_files["S001C002P001R001A001"])
        archive.writestr(f"__MACOSX/x/._{name}", b"\0\5")
        archive.writestr("x/list.csv", "")
    listing = list_files([folder], "ntu120")
    assert names(listing) == sorted([*list(raw_files)[:2], name[:20]]) and not listing.refused
    hidden = f"._{name}, .old/{name}, .x.zip, __MACOSX/{name}"
    assert listing.notices == [
        f"{folder}: 4 hidden files left aside: {hidden}.",
        f"{folder}: 1 link to a folder left aside: linked.",
        f"{folder}: 4 other files left aside: .txt 2, no suffix 1, .bak 1.",
        f"{folder / 'more.zip'}: 1 hidden file left aside: __MACOSX/x/._{name}.",
        f"{folder / 'more.zip'}: 1 other file left aside: .csv 1.",
        f"{folder / 'videos.zip'} holds no .skeleton files and is left aside.",
    ]


def test_a_source_without_raw_files_is_an_error_whatever_else_it_holds(tmp_path):
    with zipfile.ZipFile(tmp_path / "videos.zip", "w") as archive:
        archive.writestr("S001C001P001R001A001_rgb.avi", bytes(40 << 20))
    with pytest.raises(UserError, match=r"videos\.zip holds no \.skeleton files"):
        list_files([tmp_path / "videos.zip"], "ntu60")
    with pytest.raises(UserError, match=r"holds no \.skeleton files, .*; its 1 zip holds none"):
        list_files([tmp_path], "ntu60")


def test_one_raw_file_is_no_source_and_its_folder_is_named(raw_folder, raw_files):
    path = raw_folder / f"{next(iter(raw_files))}.skeleton"
    with pytest.raises(UserError, match=f"is one raw file; give its folder: {raw_folder}"):
        list_files([path], "ntu60")


@pytest.mark.parametrize("kind", ["../", "cut"])
def test_a_zip_in_a_folder_that_may_hold_raw_files_is_never_passed_over(
    raw_files, write_files, tmp_path, kind
):
    write_files(tmp_path, dict(list(raw_files.items())[:2]))
    path = write_files(tmp_path / "bad.zip", dict(list(raw_files.items())[2:]))
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("../x.txt", "")
    said = r"bad\.zip is .* An archive is taken whole or not at all, with --skip-bad, too: get it"
    with pytest.raises(UserError, match=said):
        list_files([tmp_path], "ntu60")


def test_what_is_no_plain_file_is_refused_by_itself(raw_files, write_files, tmp_path):
    folder = write_files(tmp_path / "files", dict(list(raw_files.items())[:1]))
    os.mkfifo(folder / "S001C002P001R001A009.skeleton")  # to open it would wait for ever
    (folder / "S001C002P001R001A010.skeleton").symlink_to("nowhere")
    listing = list_files([folder], "ntu120")
    assert names(listing) == list(raw_files)[:1]
    assert [item.reason for item in listing.refused] == ["bad file"] * 2
    for item, number, why in zip(listing.refused, ("09", "10"), ("plain", "No such"), strict=True):
        assert f"S001C002P001R001A0{number}.skeleton in {folder}: " in item.detail
        assert why in item.detail


def test_a_damaged_member_is_named_once(raw_files, write_files, tmp_path):
    path = write_files(tmp_path / "a.zip", dict(list(raw_files.items())[:1]))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    listing = list_files([path], "ntu120")
    with Contents(listing.sources) as contents:
        outcome, clip = convert(listing.files[0], contents, PRESETS["field"])
    assert clip is None and outcome.left_out == "bad file"
    assert outcome.detail.startswith(f"Cannot read {listing.files[0].path} in {path}: ")
    assert outcome.detail.count(outcome.name) == 1 and outcome.detail.count("a.zip") == 1
