"""What comes to light while a file is read: clips that are left out, notices, counts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from frcore.data.benchmarks import Benchmark
from frcore.data.clips import SHOWN, ClipRecord, Problems
from frcore.data.ntu.protocols import PUBLISHED, unlike_published
from frcore.files import csv_line

LEFT_OUT = "left_out.csv"


class Findings:
    """Grows while clips stream into a store; complete when they are through.

    Attributes:
        notices: for the store, and to be logged.
        tables: CSV files for the store's folder, by name.
    """

    def __init__(self, path: Path, benchmark: Benchmark, *, skip_bad: bool) -> None:
        self.path, self.benchmark, self.skip_bad = path, benchmark, skip_bad
        self.notices: list[str] = []
        self.tables: dict[str, str] = {}
        self._left_out: list[tuple[str, str]] = []

    def note(self, text: str) -> None:
        """A notice."""
        self.notices.append(text)

    def leave_out(self, sample_id: str, why: str) -> None:
        """A clip that cannot be used."""
        self._left_out.append((ascii(sample_id)[1:-1][:200], why))

    def watch(self, records: Iterable[ClipRecord]) -> Iterator[ClipRecord]:
        """The records; after the last one, notices and tables.

        Raises:
            UserError: at the end, listing clips that cannot be used, unless they may be skipped.
        """
        splits = {protocol: Counter[str]() for protocol in PUBLISHED[self.benchmark.name]}
        for record in records:
            for protocol, split in record.splits.items():
                splits[protocol][split] += 1
            yield record
        self._close_left_out()
        self._compare(splits)

    def _close_left_out(self) -> None:
        if not self.skip_bad:
            problems = Problems()
            for sample_id, why in self._left_out:
                problems.add(f"clip '{sample_id}': {why}")
            problems.raise_if_any(
                f"{self.path} cannot be imported (skip_bad, --skip-bad: goes on without such clips)"
            )
        if self._left_out:
            rows = [("sample_id", "reason"), *self._left_out]
            self.tables[LEFT_OUT] = "".join(csv_line(list(row)) for row in rows)
            first = "; ".join(f"{name}: {why}" for name, why in self._left_out[:SHOWN])
            more = "; ..." if len(self._left_out) > SHOWN else ""
            self.note(
                f"{len(self._left_out):,} clip(s) left out (all in {LEFT_OUT}): {first}{more}"
            )

    def _compare(self, splits: Mapping[str, Counter[str]]) -> None:
        """Notes in what the protocols that there are differ from the published counts."""
        there = {p: counts for p, counts in splits.items() if counts["train"] or counts["test"]}
        counts = unlike_published(self.benchmark.name, there)
        if counts or not there:
            self.note(
                f"Not the published set ({counts or 'no clip is in a split'}); accuracies on it "
                "are not comparable with published ones."
            )
