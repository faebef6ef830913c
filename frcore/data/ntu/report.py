"""What a conversion did: which files became no clip, what the rules dropped, published counts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

from frcore.data.ntu.blocks import NO_BODY, Outcome
from frcore.data.ntu.presets import PRESETS, NtuPreset
from frcore.data.ntu.protocols import PUBLISHED, parse_name, unlike_published
from frcore.data.ntu.sources import BAD, ExcludeList, LeftOut, Listing, first_of
from frcore.errors import counted
from frcore.files import csv_line

LEFT_OUT, BODIES = "left_out.csv", "bodies.csv"

# What the rules of a preset do, in their order: key of `Outcome.counts`, words, what is counted.
RULES = {
    "frames_without_body": ("frames without a body dropped", "frames"),
    "short": ("short bodies dropped", "bodies"),
    "spread": ("wide bodies dropped (spread filter)", "bodies"),
    "merged": ("bodies joined to one person", "bodies"),
    "discarded": ("bodies with no place left", "bodies"),
    "empty_frames": ("empty frames dropped", "frames"),
}


class Report:
    """Grows by outcomes, in the order of the files."""

    def __init__(
        self, benchmark: str, preset: NtuPreset, listing: Listing, exclude: ExcludeList | None
    ) -> None:
        self.benchmark, self.preset, self.exclude = benchmark, preset, exclude
        self.left_out: list[LeftOut] = [*listing.left_out, *listing.refused]
        self.absent = listing.absent
        self.found = len(self.left_out) + len(listing.files)
        self.prepared = 0
        self.splits = {protocol: Counter[str]() for protocol in PUBLISHED[benchmark]}
        self.clips, self.sums = Counter[str](), Counter[str]()  # by rule
        self.bodies: list[str] = []  # lines of BODIES

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Counts what became of some files."""
        for outcome in outcomes:
            if outcome.left_out:
                self.left_out.append(LeftOut(outcome.name, outcome.left_out, outcome.detail))
                continue
            self.prepared += 1
            for protocol, split in parse_name(outcome.name).splits(self.benchmark).items():
                self.splits[protocol][split] += 1
            if outcome.counts:
                self.clips.update(outcome.counts.keys())
                self.sums.update(outcome.counts)
                counts = [str(outcome.counts.get(rule, 0)) for rule in RULES]
                self.bodies.append(csv_line([outcome.name, *counts]))

    def bad_files(self) -> list[LeftOut]:
        """Files whose content could not be read."""
        return [item for item in self.left_out if item.reason == BAD]

    def to_dict(self) -> dict[str, Any]:
        """What `store.json` keeps: no paths, times or numbers of processes."""
        reasons = Counter(item.reason for item in self.left_out)
        report = {
            "rules": asdict(self.preset),
            "files": {"found": self.found, "prepared": self.prepared},
            "left_out": {reason: reasons[reason] for reason in sorted(reasons)},
            "bodies": {
                rule: {"clips": self.clips[rule], what: self.sums[rule]}
                for rule, (_, what) in RULES.items()
            },
            "protocols": {
                protocol: {
                    split: {"clips": self.splits[protocol][split], "published": count}
                    for split, count in published.items()
                }
                for protocol, published in PUBLISHED[self.benchmark].items()
            },
        }
        if self.exclude is not None:
            report["exclude"] = {
                "names": len(self.exclude.names),
                "matched": reasons["excluded"],
                "absent": len(self.absent),
                "unknown_lines": len(self.exclude.unknown),
            }
        return report

    def tables(self) -> dict[str, str]:
        """CSV files for the store's folder: files left out, clips of which parts were dropped."""
        bodies = [csv_line(["sample_id", *RULES]), *self.bodies]
        return {LEFT_OUT: left_out_table(self.left_out), BODIES: "".join(bodies)}

    def notices(self) -> list[str]:
        """What a user of the store has to know."""
        found = [self._differences(), self._other_rules()]
        for reason in sorted({i.reason for i in self.left_out} - self._expected()):
            names = [i.file for i in self.left_out if i.reason == reason]
            found.append(
                f"{counted(len(names), 'file')} left out ({reason}; all in {LEFT_OUT}): "
                f"{first_of(names)}."
            )
        if self.exclude is not None and self.exclude.unknown:
            found.append(
                f"Of the list of excluded samples, {counted(len(self.exclude.unknown), 'line')} "
                f"could not be read as a name: {first_of(self.exclude.unknown)}."
            )
        if self.absent:
            found.append(
                f"Of the list of excluded samples, {counted(len(self.absent), 'name')} could "
                f"not be found in the sources: {first_of(self.absent)}."
            )
        return [text for text in found if text]

    def _expected(self) -> set[str]:
        return {"excluded", NO_BODY, f"not of {self.benchmark}"}

    def _other_rules(self) -> str:
        """That clips were not made as published work makes them; "" where they were."""
        field = PRESETS["field"]
        if replace(self.preset, name=field.name) == field:
            return ""
        return (
            f"Prepared by the preset '{self.preset.name}', not as in published work "
            f"('{field.name}'): accuracies on it are not comparable with published ones."
        )

    def _differences(self) -> str:
        """In what the counts differ from the published ones; "" where they are equal."""
        counts = unlike_published(self.benchmark, self.splits)
        if not counts:
            return ""
        whole = sum(next(iter(PUBLISHED[self.benchmark].values())).values())
        text = (
            f"Not the published set: {counted(self.prepared, 'clip')} of {whole:,} ({counts}); "
            "accuracies on it are not comparable with published ones."
        )
        if self.prepared > whole and self.exclude is None:
            text += (
                " The list of incomplete skeletons that comes with the data set was not given "
                "(--exclude)."
            )
        return text


def left_out_table(files: Iterable[LeftOut]) -> str:
    """CSV text: files that became no clip, and why."""
    rows = [["file", "reason", "detail"], *([i.file, i.reason, i.detail] for i in files)]
    return "".join(csv_line([_cell(text) for text in row]) for row in rows)


def report_rows(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """`Report.to_dict` as rows (what, count, more) for a terminal."""
    files = report["files"]
    rows = [
        ("preset", report["rules"]["name"], ""),
        ("files found", f"{files['found']:,}", ""),
        ("clips prepared", f"{files['prepared']:,}", ""),
    ]
    rows += [(f"left out: {why}", f"{n:,}", "") for why, n in report["left_out"].items()]
    if "exclude" in report:
        listed = report["exclude"]
        there = f"{listed['matched']:,} were there"
        there += f", not there: {listed['absent']:,}" if listed["absent"] else ""
        rows.append(("names to exclude", f"{listed['names']:,}", there))
    for rule, (words, what) in RULES.items():
        counts = report["bodies"][rule]
        if counts["clips"]:
            rows.append((words, f"{counts[what]:,}", f"in {counted(counts['clips'], 'clip')}"))
    for protocol, splits in report["protocols"].items():
        for split, counts in splits.items():
            same = counts["clips"] == counts["published"]
            more = "as published" if same else f"published {counts['published']:,}"
            rows.append((f"{protocol} {split}", f"{counts['clips']:,}", more))
    return rows


def _cell(text: str) -> str:
    """Text that a spreadsheet shows and does not run: names come from files."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") else text
