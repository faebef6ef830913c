"""How a mistake that a user can mend is shown."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from frcore.errors import counted, did_you_mean, unknown_name


def test_a_notebook_shows_the_text_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell()
    shell.run_cell("from frcore.errors import UserError\nraise UserError('No run at x.')")
    assert capsys.readouterr().out.strip() == "UserError: No run at x."


def test_unknown_names_come_with_the_nearest_and_all_of_them() -> None:
    error = unknown_name("split", "tset", ["train", "test"])
    assert str(error) == "Unknown split 'tset'. Did you mean 'test'? Available: train, test."


@pytest.mark.parametrize("word", ["CTRGCN", "ctr-gcn", "CTR_GCN", "ctrgcm"])
def test_capitals_and_signs_do_not_hide_the_nearest_name(word) -> None:
    assert did_you_mean(word, ["stgcn", "ctrgcn"]) == " Did you mean 'ctrgcn'?"


def test_one_is_no_plural() -> None:
    assert [counted(n, "clip") for n in (0, 1, 2, 1484)] == [
        "0 clips", "1 clip", "2 clips", "1,484 clips",
    ]  # fmt: skip
    assert [counted(n, "copy", "copies") for n in (1, 3)] == ["1 copy", "3 copies"]
