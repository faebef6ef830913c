"""Named-dimension checks: `check_shape(x, "N C T V M", V=25)` says what each axis should be."""

from itertools import permutations
from typing import Any

from frcore.errors import UserError


def check_shape(array: Any, axes: str, *, name: str = "array", **expected: int) -> dict[str, int]:
    """Checks an array's shape against named axes and returns the size of each.

    Args:
        array: anything with a `.shape`.
        axes: one letter or word an axis, e.g. "N C T V M"; an axis named twice must agree.
        name: what to call the array in an error.
        **expected: required sizes of some axes.

    Raises:
        UserError: naming every wrong axis with its expected and actual size, and the transposition
            that would fit, where there is one.
    """
    shape, names = tuple(array.shape), axes.split()
    wanted = ", ".join(f"{a}={expected[a]}" if a in expected else a for a in names)
    if len(shape) != len(names):
        raise UserError(f"{name} has {len(shape)} axes {shape}; expected {len(names)}: ({wanted}).")
    if _fits(shape, names, expected):
        return dict(zip(names, shape, strict=True))
    wrong = [
        f"{a}={n} (expected {expected[a]})"
        for a, n in zip(names, shape, strict=True)
        if a in expected and n != expected[a]
    ]
    raise UserError(
        f"{name} has shape {shape}; expected ({wanted}): {', '.join(wrong) or 'axes disagree'}."
        + _likely_transposition(array, names, expected)
    )


def _fits(shape: tuple[int, ...], names: list[str], expected: dict[str, int]) -> bool:
    sizes = dict(expected)
    return all(sizes.setdefault(a, n) == n for a, n in zip(names, shape, strict=True))


def _likely_transposition(array: Any, names: list[str], expected: dict[str, int]) -> str:
    """The reordering of axes under which every expected size holds; "" if none does."""
    shape = tuple(array.shape)
    fits = [
        order
        for order in permutations(range(len(shape)))
        if _fits(tuple(shape[i] for i in order), names, expected)
    ]
    # Axes without an expected size are interchangeable: few persons and few moves are meant.
    persons = names.index("M") if "M" in names else None
    fits.sort(
        key=lambda order: (
            0 if persons is None else shape[order[persons]],
            sum(i != j for i, j in enumerate(order)),
        )
    )
    method = "permute" if hasattr(array, "permute") else "transpose"  # a tensor, else NumPy
    return f" It looks transposed: try .{method}{fits[0]}." if fits else ""
