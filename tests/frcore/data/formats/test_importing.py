"""import_clips and `frcore data import`: what is common to all formats."""

import numpy as np
import pytest
from typer.testing import CliRunner

import frcore
from frcore.cli import app
from frcore.data.catalog import open_store
from frcore.data.formats.importing import import_clips
from frcore.data.ntu.protocols import PUBLISHED
from frcore.errors import UserError


@pytest.fixture
def npz(write_npz, walk):
    return write_npz([walk(t, 1, t) for t in (5, 6, 7)], [walk(8, 2)])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nw_ucla", "NTU60_CS.npz"), "benchmark to import 'nw_ucla'.*ntu60, ntu120"),
        (("ntu60", "nothing.npz"), "No such file: .*nothing.npz"),
        (("ntu60", "folder.npz"), "No such file"),
        (("ntu60", "raw.skeleton"), "expected an .npz .* frcore data prepare ntu60"),
    ],
)
def test_what_cannot_be_imported_is_named(npz, tmp_path, arguments, named):
    (tmp_path / "raw.skeleton").touch()
    (tmp_path / "folder.npz").mkdir()
    benchmark, file = arguments
    with pytest.raises(UserError, match=named):
        import_clips(benchmark, tmp_path / file, root=tmp_path / "root")


@pytest.mark.parametrize("name", ["ntu120", "nw_ucla", "../x", ""])
def test_names_of_others_and_unsafe_ones_are_refused(npz, tmp_path, name):
    with pytest.raises(UserError, match="name"):
        import_clips("ntu60", npz, name=name, root=tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_the_same_file_twice_is_one_store_and_another_is_not_replaced(
    npz, write_npz, walk, tmp_path, caplog
):
    root = tmp_path / "root"
    store = import_clips("ntu60", npz, root=root)
    before = (store.path / "store.json").stat().st_mtime_ns
    assert import_clips("ntu60", npz, root=root).fingerprint == store.fingerprint
    assert (store.path / "store.json").stat().st_mtime_ns == before
    other = write_npz([walk(9)], [walk(8)])
    with pytest.raises(UserError, match=r"holds something else; pass overwrite=True.*--name"):
        import_clips("ntu60", other, root=root)
    assert (store.path / "store.json").stat().st_mtime_ns == before
    assert len(import_clips("ntu60", other, root=root, overwrite=True)) == 2
    assert "Replacing the store" in caplog.text
    assert [p.name for p in root.iterdir()] == ["ntu60"]


def test_a_store_made_otherwise_is_refused_before_the_file_is_read(npz, tmp_path, monkeypatch):
    store = import_clips("ntu60", npz, root=tmp_path / "root")
    record = store.path / "store.json"
    record.write_text(record.read_text().replace("ctrgcn npz", "field"))
    monkeypatch.setattr("frcore.data.replacing.write_store", None)
    with pytest.raises(UserError, match="holds something else"):
        import_clips("ntu60", npz, root=tmp_path / "root")


@pytest.mark.slow
def test_a_store_of_another_name_trains_and_predicts(npz, tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "data"))
    store = import_clips("ntu60", npz, name="ntu60_mine")
    assert store.path == tmp_path / "data" / "ntu60_mine"
    assert store.benchmark.name == "ntu60_mine"
    changes = {"train.epochs": 1, "benchmark": "ntu60_mine", "data.protocol": "xsub"}
    run = frcore.fit("synthetic_tiny", out=tmp_path / "run", **changes)
    predictions = frcore.predict(run)
    assert list(predictions.sample_ids) == ["test/000000"]
    assert predictions.class_names == store.benchmark.class_names


def test_on_the_command_line(npz, tmp_path, monkeypatch):
    monkeypatch.setenv("FRCORE_DATA", str(tmp_path / "data"))
    mine = npz.rename(tmp_path / "mine.npz")
    result = CliRunner().invoke(app, ["data", "import", "ntu60", str(mine)])
    assert result.exit_code == 2 and "add --protocol" in result.output
    options = ["--protocol", "xview", "--name", "views", "--skip-bad"]
    result = CliRunner().invoke(app, ["data", "import", "ntu60", str(mine), *options])
    assert result.exit_code == 0, result.output
    assert "Next: frcore data check views" in result.output
    assert open_store("views").benchmark.name == "views"  # where predictions look for it
    result = CliRunner().invoke(app, ["data", "check", "views"])
    assert result.exit_code == 0 and "Not the published set" in result.output
    options = [*options, "--overwrite"]
    assert CliRunner().invoke(app, ["data", "import", "ntu60", str(mine), *options]).exit_code == 0


def test_the_published_counts_are_no_notice(write_npz, tmp_path, monkeypatch):
    counts = {"xsub": {"train": 3, "test": 2}}
    monkeypatch.setitem(PUBLISHED, "ntu60", counts)
    clips = [np.ones((2, 1, 25, 3), np.float32)] * 3
    assert import_clips("ntu60", write_npz(clips, clips[:2]), root=tmp_path / "a").notices == ()
    (notice,) = import_clips("ntu60", write_npz(clips, clips), root=tmp_path / "b").notices
    assert "xsub train 3 of 3, xsub test 3 of 2" in notice
