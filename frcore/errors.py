"""Errors a user can mend: the command line prints them without a traceback and exits with 2."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake the user can mend; its text names the thing, the value, the choices, the remedy."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the text alone; `%debug` opens the place where it was raised."""
        return [f"{type(self).__name__}: {self}"]


class NoSuchSplit(UserError):
    """A store has no clips in the split that is asked for."""


def did_you_mean(word: str, choices: Iterable[str], *, most: int = 1) -> str:
    """ " Did you mean 'x'?" for the choices nearest to `word`, or "" where none is near.

    Capitals and the signs between letters make no difference: 'CTR-GCN' is near 'ctrgcn'.
    """
    names = {_letters(str(c)): str(c) for c in choices}
    near = difflib.get_close_matches(_letters(word), names, n=most)
    words = " or ".join(f"'{names[name]}'" for name in near)
    return f" Did you mean {words}?" if near else ""


def _letters(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def unknown_name(
    kind: str, word: object, choices: Iterable[str], *, listed_by: str = ""
) -> UserError:
    """The error for a name outside a closed vocabulary, with the nearest choice and all of them.

    Where these are many, `listed_by` is the command that lists them; the nearest few are named.
    """
    names = [str(c) for c in choices]
    if listed_by:
        near = did_you_mean(str(word), names, most=3)
        return UserError(f"Unknown {kind} '{word}'.{near} All {len(names)}: {listed_by}")
    return UserError(
        f"Unknown {kind} '{word}'.{did_you_mean(str(word), names)} Available: {', '.join(names)}."
    )


def counted(number: int, what: str, plural: str = "") -> str:
    """ "1 clip", "1,484 clips": a number and its noun; give the plural where "s" is not enough."""
    return f"{number:,} {what if number == 1 else plural or what + 's'}"
