"""The explorer as one file: what it carries, how large it is, that nothing in it is markup."""

import base64
import gzip
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import frviz
from frcore.data.store import data_root
from frcore.errors import UserError
from frcore.predictions import Predictions
from frviz.cli import app
from frviz.explorer.export import STATIC, _mistakes_first, carried_details
from frviz.explorer.payload_format import unpack
from frviz.explorer.subject import Subject

pytestmark = pytest.mark.usefixtures("own_folders")
HOSTILE = "</title></script><img src=x onerror=alert(1)>"


class Parts(HTMLParser):
    """The blocks of a page as a browser sees them, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts, self.tags, self.title, self.policy, self._at = {}, [], "", "", None
        self.feed(page)

    def handle_starttag(self, tag, attrs) -> None:
        attrs = dict(attrs)
        self.tags.append(tag)
        self._at = attrs.get("data-part", tag)
        if attrs.get("http-equiv") == "Content-Security-Policy":
            self.policy = attrs["content"]

    def handle_endtag(self, tag) -> None:
        self._at = None

    def handle_data(self, data) -> None:
        if self._at in ("module", "payload", "details"):
            self.parts[self._at] = gzip.decompress(base64.b64decode(data))
        elif self._at == "title":
            self.title = data

    @property
    def payload(self):
        return unpack(self.parts["payload"])

    @property
    def details(self):
        return unpack(self.parts["details"])


def opened(path: Path) -> Parts:
    return Parts(path.read_text(encoding="utf-8"))


@pytest.fixture
def stored_pair(pair, make_store) -> tuple[Predictions, Predictions]:
    """Both models, with their clips in the data root."""
    a, b = pair
    store = make_store(data_root() / "tiny", a.sample_ids, a.labels)
    metadata = {"benchmark": "tiny", "fingerprint": store.fingerprint}
    return replace(a, metadata=metadata), replace(b, metadata=metadata)


def test_a_page_is_complete_and_asks_for_nothing(stored_pair, tmp_path) -> None:
    explorer = frviz.explore(*stored_pair, method="pca", names=("plain", "FR"))
    page = explorer.to_html(tmp_path / "new" / "x.html", clips=9)
    found = opened(page)
    assert found.title == "plain and FR on tiny"
    assert found.policy.startswith("default-src 'none'; script-src 'unsafe-inline' blob:;")
    assert "connect-src" not in found.policy and "http" not in found.policy
    assert found.parts["module"] == (STATIC / "explorer.js").read_bytes()
    header, arrays = found.payload
    whole, all_arrays = unpack(explorer.payload)
    assert {
        **header,
        "clip_count": None,
        "carried": None,
        "complete": None,
        "map_choices": whole["map_choices"],
    } == whole
    assert header["clip_count"] == len(found.details[0]["details"]) == 9
    for name, array in all_arrays.items():
        np.testing.assert_array_equal(arrays[name], array)
    again = explorer.to_html(tmp_path / "again.html", clips=9)
    assert again.read_bytes() == page.read_bytes()


def test_scripts_and_styles_end_where_they_should() -> None:
    assert "</script" not in (STATIC / "page.js").read_text(encoding="utf-8").lower()
    assert "</style" not in (STATIC / "explorer.css").read_text(encoding="utf-8").lower()


def test_clips_of_a_page_share_their_joints(stored_pair, tmp_path) -> None:
    explorer = frviz.explore(*stored_pair, method="none")
    header, arrays = opened(explorer.to_html(tmp_path / "x.html", clips=12)).details
    assert len(arrays) == len(header["details"]) == 12
    for name, sides in header["details"].items():
        details = sides["a"]
        assert details["id"] == name
        assert details["clips"][0]["role"] == "chosen"
        assert details["clips"][0]["id"] == name
        for clip in details["clips"]:
            assert clip["id"] in header["details"]
            assert arrays[clip["joints"]].shape == (5, 1, 3, 3)
    whole = [n for n, s in header["details"].items() if len(s["a"]["clips"]) == 3]
    page_header, _ = opened(tmp_path / "x.html").payload
    assert [page_header["ids"][row] for row in page_header["complete"]] == sorted(whole)
    assert 4 <= len(whole) < 12  # the mistakes that were taken first, with both of their nearest
    shown = [side for sides in header["details"].values() for side in sides.values()]
    assert len({(clip["id"], clip["joints"]) for side in shown for clip in side["clips"]}) == 12


def test_a_page_carries_the_rival_that_b_sees(stored_pair) -> None:
    a, b = stored_pair
    wrong = np.flatnonzero(~a.correct)[0]
    third = next(k for k in range(4) if k not in (a.labels[wrong], a.predicted[wrong]))
    logits = b.logits.copy()
    logits[wrong] = np.eye(4, dtype=np.float32)[third]
    subject = frviz.compare(a, replace(b, logits=logits, predicted=None))._subject()
    name = a.sample_ids[wrong]
    details = carried_details(subject, 24)[name]
    rivals = {side: unpack(payload)[0]["rival"] for side, payload in details.items()}
    assert rivals == {"a": int(a.predicted[wrong]), "b": third}
    roles = [clip["role"] for clip in unpack(details["b"])[0]["clips"]]
    assert roles == ["chosen", "true", "predicted"]


def test_mistakes_come_first_and_classes_take_turns(make) -> None:
    labels = [0, 0, 0, 1, 1, 1, 2, 2]
    a = [1, 0, 0, 1, 1, 0, 2, 2]  # wrong: 0, 5
    b = [0, 1, 1, 0, 1, 2, 2, 0]  # fixed: 0; broken: 1, 2, 3, 7; both wrong: 5
    subject = frviz.compare(make(labels, a, 3), make(labels, b, 3))._subject()
    assert _mistakes_first(subject).tolist() == [1, 3, 7, 2, 0, 5, 4, 6]
    one = replace(subject, b=None, names=("A",))
    assert _mistakes_first(one).tolist() == [0, 5, 1, 3, 6, 2, 4, 7]


@pytest.mark.parametrize("clips", [0, 1, 2, 5, 100])
def test_at_most_so_many_clips_are_carried(stored_pair, clips: int) -> None:
    subject = frviz.compare(*stored_pair)._subject()
    details = carried_details(subject, clips)
    assert len(details) == min(clips, 24)
    if clips == 5:  # the first mistake has both of its nearest clips
        first = unpack(next(iter(details.values()))["a"])[0]
        assert [clip["role"] for clip in first["clips"]] == ["chosen", "true", "predicted"]
        assert first["note"] == ""
        assert not (stored_pair[1].correct & stored_pair[0].correct)[subject.place[first["id"]]]


@pytest.mark.parametrize("clips", [-1, 2.5, "many", None])
def test_a_number_of_clips_is_a_number(stored_pair, clips) -> None:
    with pytest.raises(UserError, match="clips: expected a whole number"):
        carried_details(frviz.compare(*stored_pair)._subject(), clips)


def test_without_a_store_nothing_is_carried_and_the_page_says_why(make, tmp_path) -> None:
    explorer = frviz.explore(make([0, 1, 1], [0, 1, 0]))
    found = opened(explorer.to_html(tmp_path / "x.html"))
    assert found.details[0]["details"] == {}
    header, _ = found.payload
    assert header["clip_count"] == 0
    assert set(header["missing"]) == {"maps", "clips", "scores", "history"}


def test_all_maps_that_were_made_are_carried(stored_pair, tmp_path, monkeypatch) -> None:
    explorer = frviz.explore(*stored_pair, method="pca")
    monkeypatch.setattr(explorer, "send", lambda *_, **__: None)
    explorer._handle_custom_msg({"kind": "map", "space": "backbone", "method": "tsne"}, [])
    header, _ = opened(explorer.to_html(tmp_path / "x.html", clips=0)).payload
    assert [entry["key"] for entry in header["maps"]] == ["backbone/pca", "backbone/tsne"]


def test_fault_18_hostile_names_stay_text(make, tmp_path) -> None:
    x = make([0, 1, 1], [0, 1, 0], class_names=(HOSTILE, "b"), ids=[f"{HOSTILE}{n}" for n in "abc"])
    found = opened(frviz.explore(x, names=HOSTILE).to_html(tmp_path / "x.html"))
    assert found.title == HOSTILE
    assert "img" not in found.tags
    assert found.payload[0]["classes"] == [HOSTILE, "b"]
    report = frviz.compare(x, x, names=(HOSTILE, "b")).report(tmp_path / "r.html")
    assert "img" not in opened(report).tags


def test_a_page_that_cannot_be_written_is_said(make, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        frviz.explore(make([0], [0])).to_html(tmp_path / "file" / "x.html")
    for folder in ("", "/", tmp_path):
        with pytest.raises(UserError, match="Cannot write .*: Is a directory"):
            frviz.explore(make([0], [0])).to_html(folder)


def test_a_report_holds_the_explorer(stored_pair, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("frviz.explorer.export.REPORT_POINTS", 10)
    page = frviz.compare(*stored_pair).report(tmp_path / "r.html")
    text = page.read_text(encoding="utf-8")
    assert text.index("class='verdict'") < text.index("<h2>Explore</h2>") < text.index("<details>")
    found = opened(page)
    assert "blob:" in found.policy
    header, _ = found.payload
    assert [entry["method"] for entry in header["maps"]] == ["pca"]  # t-SNE would take long
    assert header["clip_count"] == 24


def run(*arguments: object):
    """`frviz explore ...`; no map, which takes time, unless one is asked for."""
    return CliRunner().invoke(app, ["explore", "--method", "none", *map(str, arguments)])


def test_the_command_writes_a_page(stored_pair, tmp_path) -> None:
    a, b = (x.save(tmp_path / f"{n}.npz") for n, x in zip("ab", stored_pair, strict=True))
    out = tmp_path / "new" / "x.html"
    done = run(a, b, "--out", out, "--names", "plain", "FR", "--clips", 7, "--method", "pca")
    assert done.exit_code == 0, done.output
    assert f"Explorer: {out}" in done.stdout and "Explorer('plain' (A)" in done.stdout
    assert opened(out).payload[0]["clip_count"] == 7
    assert opened(out).payload[0]["maps"][0]["key"] == "backbone/pca"
    done = run(a, "--out", out, "--name", "FR Head")
    assert done.exit_code == 0, done.output
    header, _ = opened(out).payload
    assert (header["maps"], header["names"]) == ([], ["FR Head"])
    assert run(a, "--out", out, "--clips", -1).stderr.startswith("Error: clips")


def test_the_command_finds_clips_where_it_is_told(pair, make_store, tmp_path) -> None:
    a, out = pair[0].save(tmp_path / "a.npz"), tmp_path / "x.html"
    make_store(data_root() / "tiny", pair[0].sample_ids, pair[0].labels)
    elsewhere = make_store(tmp_path / "elsewhere", pair[0].sample_ids, pair[0].labels)
    other = make_store(tmp_path / "other", ["foreign"], [0])
    run(a, "--out", out)
    assert opened(out).payload[0]["clip_count"] == 0
    for data in ("tiny", elsewhere.path):
        done = run(a, "--out", out, "--data", data, "--clips", 3)
        assert done.exit_code == 0, done.output
        assert opened(out).payload[0]["clip_count"] == 3
    assert "holds none of the clips, such as 's00000'" in run(a, "--data", other.path).stderr
    assert "Did you mean 'tiny'" in run(a, "--data", "tinyy").stderr


def test_the_command_takes_seeds_and_a_reference(scored, pair, tmp_path) -> None:
    a, b = (x.save(tmp_path / f"{n}.npz") for n, x in zip("ab", pair, strict=True))
    labels = pair[0].labels
    judge = scored(labels, np.where(labels == 0, 3, labels)).save(tmp_path / "judge.npz")
    out = tmp_path / "x.html"
    done = run(a, b, "--a", b, "--b", a, "--out", out)
    assert done.exit_code == 0, done.output
    header, _ = opened(out).payload
    assert header["title"].endswith(", the first run of each")
    assert "B (2 runs) against A (2 runs)" in header["verdict"]
    for models in ((a,), (a, b)):
        done = run(*models, "--reference", judge, "--out", out)
        assert done.exit_code == 0, done.output
        header, _ = opened(out).payload
        assert "the reference" in header["groups_note"]
        members = {group["anchor"]: group["members"] for group in header["groups"]}
        assert members[0][:2] == [0, 3]  # A takes class 0 for class 1, the reference for class 3


def test_the_command_takes_arrays_of_a_score_file(tmp_path) -> None:
    ids, labels, out = np.array(["p", "q", "r", "s"]), np.array([0, 1, 2, 0]), tmp_path / "x.html"
    good = np.eye(3)[labels]
    file = tmp_path / "scores.npz"
    np.savez(file, sample_ids=ids, labels=labels, good=good, bad=np.roll(good, 1, axis=1))
    for words, right in (
        ((file, "--score", "good"), [1.0]),
        ((file, file, "--scores", "bad", "good"), [0.0, 1.0]),
    ):
        done = run(*words, "--out", out)
        assert done.exit_code == 0, done.output
        assert opened(out).payload[0]["accuracy"] == right


def test_options_of_one_model_and_of_two_are_told_apart(pair, tmp_path) -> None:
    a, b = (x.save(tmp_path / f"{n}.npz") for n, x in zip("ab", pair, strict=True))
    for words, said in (
        ((a, "--names", "x", "y"), "--name is for one model, --names A B for two; here is one."),
        ((a, b, "--name", "x"), "--name is for one model, --names A B for two; here are two."),
        ((a, "--scores", "x", "y"), "--score is for one model, --scores A B for two; here is one."),
        ((a, "--b", b), "--a and --b add seeds to two models: frviz explore A B --a A1 --b B1."),
    ):
        done = run(*words)
        assert (done.exit_code, done.stderr) == (2, f"Error: {said}\n")


def large(n: int, k: int, width: int) -> tuple[Predictions, Predictions]:
    rng = np.random.default_rng(0)
    labels, ids = rng.integers(0, k, n), tuple(f"S001C001P001R001A{i:06}" for i in range(n))
    found = []
    for quality in (2.0, 2.3):
        logits = rng.normal(size=(n, k))
        logits[np.arange(n), labels] += quality
        features = rng.normal(size=(n, width)) + rng.normal(size=(k, width))[labels]
        found.append(Predictions(ids, labels, class_names=tuple(f"action {c}" for c in range(k)),
                                 logits=logits, features={"backbone": features}))  # fmt: skip
    return tuple(found)


def test_16487_clips_of_60_classes_take_less_than_3_mb(tmp_path) -> None:
    explorer = frviz.explore(*large(16_487, 60, 64), method="pca")
    page = explorer.to_html(tmp_path / "x.html")
    size = page.stat().st_size
    blocks = re.findall(r'data-part="(\w+)">([^<]*)<', page.read_text(encoding="utf-8"))
    print(f"{size / 1e6:.2f} MB:", {name: f"{len(text) / 1e6:.2f}" for name, text in blocks})
    assert size < 3e6


def test_subjects_without_a_kernel_need_no_widget(pair) -> None:
    assert isinstance(frviz.compare(*pair)._subject(), Subject)
