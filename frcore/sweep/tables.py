"""The paper's tables as rows: what each row changes in a recipe, and what was published for it.

Published figures stand here only where they are certain: parameter counts of the paper, and
accuracies of the authors' released runs (the names of their result folders) and of the paper's
comparison with other methods (the fusion of four streams). The rest stays empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from frcore.data.benchmarks import STREAMS
from frcore.errors import unknown_name

PAPER = "ntu120/xsub"  # what the paper's Tables 1 to 4 were measured on, with the joint stream


@dataclass(frozen=True)
class Row:
    """One line of a table: a variation of a recipe, or a fusion of other rows."""

    name: str
    head: bool = False  # starts from the recipe with FR Head
    changes: Mapping[str, Any] = field(default_factory=dict)  # of that recipe, dotted
    against: str | None = None  # the row that it is compared with
    published: Mapping[str, float] = field(default_factory=dict)  # accuracy, %, by "set/protocol"
    parameters: float | None = None  # millions in training, as the paper prints them
    members: tuple[str, ...] = ()  # rows whose scores it sums; it then has no run of its own


@dataclass(frozen=True)
class Table:
    """What one of the paper's tables consists of."""

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()  # what a reader has to know of these rows
    compared: tuple[str, ...] = ()  # rows that frviz looks into

    def __getitem__(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


BASELINE, FR_HEAD = "without FR Head", "with FR Head"
_JOINT = {PAPER: 85.51, "ntu120/xset": 87.32, "nw_ucla/xview": 94.40}
_LAST = {"head.levels": [10], "head.level_weights": [1.0]}


def _ablation() -> Table:
    def part(name: str, changes: dict[str, Any], parameters: float, **more: Any) -> Row:
        return Row(name, True, changes, BASELINE, parameters=parameters, **more)

    pooled = {"head.decouple": False}
    return Table(
        "table1",
        "parts of FR Head (the paper's Table 1)",
        (
            Row(BASELINE, parameters=1.46),
            part("CL loss", {**_LAST, **pooled}, 1.53),
            part("CL loss, ST decoupling", _LAST, 1.59),
            part("CL loss, ML refinement", {**pooled, "head.hidden": None}, 1.61),
            part("CL loss, ST decoupling, ML refinement", {}, 1.99, published=_JOINT),
        ),
        (
            "CL: contrastive loss on the last level; ST: spatial and temporal branches; ML: four "
            "levels. How the rows between the first and the last are built is not published; with "
            "CTR-GCN and 120 classes ours have the paper's numbers of parameters.",
        ),
        (BASELINE, "CL loss, ST decoupling, ML refinement"),
    )


def _weights() -> Table:
    published = (0.1, 0.2, 0.5, 1.0)
    others = {
        "all levels alike": (1.0, 1.0, 1.0, 1.0),
        "falling": (1.0, 0.5, 0.2, 0.1),
        "last level only": (0.0, 0.0, 0.0, 1.0),
    }

    def row(weight: float, levels: tuple[float, ...] = published, note: str = "") -> Row:
        shown = f"w_cl = {weight:g}, lambda = ({', '.join(f'{w:g}' for w in levels)})"
        changes = {"head.weight": weight, "head.level_weights": list(levels)}
        figures = _JOINT if note == "published" else {}
        name = shown + (f": {note}" if note else "")
        return Row(name, True, changes, BASELINE, published=figures)

    return Table(
        "table2",
        "weight of the contrastive loss and of its levels (the paper's Table 2)",
        (
            Row(BASELINE),
            row(0.1, note="published"),
            *(row(weight) for weight in (0.05, 0.2, 0.5, 1.0)),
            *(row(0.1, levels, note) for note, levels in others.items()),
        ),
        (
            "The row 'published' is the authors' setting; the grid around it is ours, so its other "
            "rows have no counterpart in the paper.",
        ),
    )


def _backbones() -> Table:
    families = {  # millions of parameters as the paper prints them: without and with FR Head
        "stgcn": (2.11, 2.65),
        "aagcn": (3.80, 4.33),
        "ctrgcn": (1.46, 1.99),
        "tcagcn": (5.65, 6.18),
        "hdgcn": (1.68, 2.21),
    }
    rows: list[Row] = []
    for family, (plain, refined) in families.items():
        changes = {"model.backbone": family}
        figures = _JOINT if family == "ctrgcn" else {}
        rows += [
            Row(family, False, changes, parameters=plain),
            Row(f"{family} + FR Head", True, changes, family, figures, refined),
        ]
    return Table(
        "table3",
        "backbones without and with FR Head (the paper's Table 3)",
        tuple(rows),
        (
            "stgcn is the paper's ST-GCN, a baseline of the CTR-GCN authors; the paper's 2s-AGCN "
            "is aagcn. tcagcn is built without 0.66 M parameters that the published one carries "
            "and never uses; hdgcn has the body's root as its centre.",
        ),
    )


def _levels() -> Table:
    return Table(
        "table4",
        "difficulty levels and ambiguous groups (the paper's Table 4 and Figure 4)",
        (Row(BASELINE), Row(FR_HEAD, True, {}, BASELINE, published=_JOINT)),
        ("Levels and groups of classes are what `frviz compare` makes of these runs.",),
        (BASELINE, FR_HEAD),
    )


def _streams() -> Table:
    published = {  # in the order of STREAMS, then their fusion
        PAPER: (85.51, 86.81, 81.87, 82.01, 89.5),
        "ntu120/xset": (87.32, 88.14, 83.98, 83.91, 90.9),
        "nw_ucla/xview": (94.40, 93.10, 92.89, 89.44, 96.77),
    }
    names = [stream.replace("_", " ") for stream in STREAMS]
    plain = [
        Row(name, False, {"data.stream": stream})
        for name, stream in zip(names, STREAMS, strict=True)
    ]
    plain.append(Row("four streams", members=tuple(row.name for row in plain)))
    refined = []
    for place, row in enumerate(plain):
        figures = {where: values[place] for where, values in published.items()}
        members = tuple(f"{name} + FR Head" for name in row.members)
        name = f"{row.name} + FR Head"
        refined.append(Row(name, True, row.changes, row.name, figures, members=members))
    return Table(
        "table5",
        "four streams and their fusion (the paper's Table 5)",
        tuple(row for pair in zip(plain, refined, strict=True) for row in pair),
    )


TABLES = {
    table.name: table for table in (_ablation(), _weights(), _backbones(), _levels(), _streams())
}


def get_table(name: str) -> Table:
    """The table of that name.

    Raises:
        UserError: there is none.
    """
    if name not in TABLES:
        raise unknown_name("table", name, TABLES)
    return TABLES[name]
