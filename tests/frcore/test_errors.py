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


def test_of_many_names_the_nearest_few_are_given_and_the_command_that_lists_them() -> None:
    names = [f"{name}_{stream}" for name in ("ntu", "ucla") for stream in ("joint", "bone")]
    error = unknown_name("recipe", "ntu_bones", [*names, "other"], listed_by="frcore recipes")
    assert str(error) == (
        "Unknown recipe 'ntu_bones'. Did you mean 'ntu_bone' or 'ucla_bone' or 'ntu_joint'? "
        "All 5: frcore recipes"
    )
    error = unknown_name("recipe", "xyz", names, listed_by="frcore recipes")
    assert str(error) == "Unknown recipe 'xyz'. All 4: frcore recipes"


@pytest.mark.parametrize("word", ["CTRGCN", "ctr-gcn", "CTR_GCN", "ctrgcm"])
def test_capitals_and_signs_do_not_hide_the_nearest_name(word) -> None:
    assert did_you_mean(word, ["stgcn", "ctrgcn"]) == " Did you mean 'ctrgcn'?"


def test_one_is_no_plural() -> None:
    assert [counted(n, "clip") for n in (0, 1, 2, 1484)] == [
        "0 clips", "1 clip", "2 clips", "1,484 clips",
    ]  # fmt: skip
    assert [counted(n, "copy", "copies") for n in (1, 3)] == ["1 copy", "3 copies"]
