import hashlib
import http.server
import io
import json
import stat
import threading
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

from frcore.cli import app
from frcore.data.archive import Limits, open_source
from frcore.data.fetch import DOWNLOADS, Download, FetchError, content_digest, fetch_benchmark
from frcore.errors import UserError
from frcore.files import WriteError

NAMES = ("a01_s01_e00_v01", "a01_s01_e00_v02", "a01_s01_e00_v03")
FILES = {
    f"all_sqe/{name}.json": json.dumps(
        {"skeletons": np.random.default_rng(i).normal(size=(4, 20, 3)).tolist(), "label": 1}
    ).encode()
    for i, name in enumerate(NAMES)
}
# The digest by its definition, over files in the order of their paths.
DIGEST = hashlib.sha256(
    "".join(
        f"{path.removeprefix('all_sqe/')} {hashlib.sha256(content).hexdigest()}\n"
        for path, content in sorted(FILES.items())
    ).encode()
).hexdigest()


def pack(files=FILES, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves `body` at every path; `announce` is the length it claims (None: says none)."""

    body, announce, status, kind = b"", None, 200, "application/zip"

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(self.server.status)
            self.send_header("Content-Type", self.server.kind)
            if self.server.announce is not None:
                self.send_header("Content-Length", str(self.server.announce))
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, *_):
            pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Server.RequestHandlerClass) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server, root, **fields):
    url = f"http://127.0.0.1:{server.server_port}/all_sqe.zip?dl=1"
    expected = {"benchmark": "nw_ucla", "url": url, "members": 3, "digest": DIGEST}
    return fetch_benchmark("nw_ucla", root=root, download=Download(**(expected | fields)))


def left(root):
    return sorted(p.name for p in root.iterdir()) if root.exists() else []


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_content_counts_however_the_archive_is_packed(server, tmp_path, compression):
    server.body = pack(dict(reversed(FILES.items())), compression)
    server.announce = len(server.body)
    store = fetch(server, tmp_path)
    assert store.samples.sample_id.tolist() == list(NAMES)
    assert left(tmp_path) == ["nw_ucla"]


def test_existing_store_is_opened_without_a_download(server, tmp_path, caplog):
    server.body = pack()
    first = fetch(server, tmp_path)
    server.status = 500
    assert fetch(server, tmp_path).fingerprint == first.fingerprint
    assert "is there already" in caplog.text


@pytest.mark.parametrize("announced", [True, False])
def test_fault_17_download_cut_anywhere_leaves_nothing_and_names_the_file(
    server, tmp_path, announced
):
    whole = pack()
    for cut in range(0, len(whole), len(whole) // 8):
        server.body = whole[:cut]
        server.announce = len(whole) if announced else None
        with pytest.raises(FetchError) as caught:
            fetch(server, tmp_path)
        assert "all_sqe.zip" in str(caught.value) and DIGEST in str(caught.value)
        assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"body": b"<!DOCTYPE html><p>Sign in", "kind": "text/html"}, "gave a web page"),
        ({"body": pack(), "status": 404}, "404"),
        ({"body": pack(dict(list(FILES.items())[:2]))}, "gave 2 files with content sha256"),
        ({"body": pack(FILES | {"all_sqe/" + NAMES[0] + ".json": b"{}"})}, "gave 3 files"),
        ({"body": pack(FILES | {"../evil.json": b"{}"})}, "leaves its folder"),
        ({"body": b"PK\x03\x04" + bytes(500)}, "not a readable zip"),
    ],
)
def test_fault_16_17_wrong_content_is_refused_and_nothing_is_left(server, tmp_path, change, named):
    vars(server).update(change)
    with pytest.raises(FetchError, match=named) as caught:
        fetch(server, tmp_path / "root")
    text = str(caught.value)
    assert "Expected: a zip archive of 3 .json files" in text and "Nothing was kept" in text
    assert ".." not in text.replace("../evil.json", "")
    assert left(tmp_path / "root") == [] and left(tmp_path) in ([], ["root"])


def test_fault_17_the_command_ends_with_2_and_one_message(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "root"))
    server.body, server.kind = b"<!DOCTYPE html><p>Sign in", "text/html"
    url = f"http://127.0.0.1:{server.server_port}/all_sqe.zip"
    result = CliRunner().invoke(app, ["data", "fetch", "nw_ucla", "--url", url])
    assert result.exit_code == 2 and "\nError: " in result.stderr
    assert url in result.stderr and "gave a web page" in result.stderr
    assert left(tmp_path / "root") == []


def test_fault_17_endless_download_is_broken_off(server, tmp_path):
    server.body = bytes(3_000_000)
    with pytest.raises(FetchError, match="larger than 1 MB"):
        fetch(server, tmp_path, max_bytes=1 << 20)
    assert left(tmp_path) == []


def test_fault_04_a_data_root_that_cannot_be_written_is_said_before_the_download(read_only):
    with pytest.raises(WriteError, match=f"Cannot write {read_only / 'data'}: Read-only"):
        fetch_benchmark("nw_ucla", root=read_only / "data", url="http://localhost:1/nothing.zip")


def test_no_server_and_no_http_are_user_errors(tmp_path):
    for url in ("http://127.0.0.1:9/all_sqe.zip", "file:///etc/passwd", "all_sqe.zip"):
        with pytest.raises(FetchError):
            fetch_benchmark("nw_ucla", root=tmp_path, url=url)
    assert left(tmp_path) == []


def test_benchmarks_without_a_download_say_so(tmp_path):
    with pytest.raises(UserError, match="made on first use"):
        fetch_benchmark("synthetic", root=tmp_path)
    with pytest.raises(UserError, match="Did you mean 'nw_ucla'"):
        fetch_benchmark("nw_ucl", root=tmp_path)


def test_real_archive_is_fetched_by_its_recorded_content(server, reference, tmp_path):
    server.body = (reference / "data/nw_ucla/all_sqe.zip").read_bytes()
    url = f"http://127.0.0.1:{server.server_port}/mirror.zip"
    store = fetch_benchmark("nw_ucla", root=tmp_path, url=url)
    assert len(store) == DOWNLOADS["nw_ucla"].members == 1484 and left(tmp_path) == ["nw_ucla"]


# --- hostile archives -----------------------------------------------------------------------


def entry(name, *, mode=stat.S_IFREG | 0o644, content=b"{}"):
    info = zipfile.ZipInfo("x")
    info.filename = name  # ZipInfo's constructor would clean it
    info.orig_filename = name
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info, content


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ([entry("../x.json")], "leaves its folder"),
        ([entry("a/../../x.json")], "leaves its folder"),
        ([entry("/etc/x.json")], "leaves its folder"),
        ([entry("..\\x.json")], "no plain relative path"),
        ([entry("C:/x.json")], "no plain relative path"),
        ([entry("a\nb.json")], "no plain relative path"),
        ([entry("x.json", mode=stat.S_IFLNK | 0o777)], "link"),
        ([entry("dev.json", mode=stat.S_IFCHR | 0o600)], "link or no plain file"),
        ([entry("x.json"), entry("X.json")], "occurs twice"),
        ([entry("x.json"), entry("x.json")], "occurs twice"),
        ([entry("bomb.json", content=bytes(2 << 20))], "more than 100 times its size"),
        ([entry("readme.txt"), entry("../other.txt")], "leaves its folder"),
        ([entry(f"{i}.json") for i in range(11)], "11 members, more than 10"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_fault_16_hostile_archive_is_refused_as_a_whole(tmp_path, members, named):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members:
            archive.writestr(info, content)
    limits = Limits(members=10)
    with pytest.raises(UserError, match=named) as caught, open_source(path, ".json", limits):
        pass
    assert "x.zip" in str(caught.value) and left(tmp_path) == ["x.zip"]


def test_fault_16_archives_above_the_limits_are_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(
        pack({f"{i}.json": bytes(range(256)) * 4096 for i in range(3)}, zipfile.ZIP_STORED)
    )
    for limits, named in (
        (Limits(member_bytes=1 << 19), "unpacks to 1 MB"),
        (Limits(total_bytes=2 << 20), "unpacks to 3 MB, more than 2 MB"),
    ):
        with pytest.raises(UserError, match=named), open_source(path, ".json", limits):
            pass


def test_fault_16_member_that_lies_about_its_size_is_refused(tmp_path):
    """The table of contents says 10 bytes; the stream holds 2 MB."""
    content = bytearray(pack({"x.json": bytes(2 << 20)}))
    real = (2 << 20).to_bytes(4, "little")
    assert content.count(real) == 2
    path = tmp_path / "x.zip"
    path.write_bytes(content.replace(real, (10).to_bytes(4, "little")))
    with pytest.raises(UserError, match="x.json"), open_source(path, ".json") as source:
        source.read("x.json")


def test_encrypted_member_is_refused(tmp_path):
    content = bytearray(pack({"x.json": b"{}"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(UserError, match="encrypted"), open_source(path, ".json"):
        pass


def test_mutated_archives_never_end_in_another_error(tmp_path):
    rng, whole, path = np.random.default_rng(0), pack(), tmp_path / "x.zip"
    for _ in range(150):
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            with open_source(path, ".json") as source:
                content_digest(source)
        except UserError:
            continue
