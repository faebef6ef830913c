"""Two models, A and B, clip by clip; each may be several runs (seeds)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from frcore.ensembles import align
from frcore.predictions import Predictions
from frcore.significance import mcnemar_p
from frviz.tables.statistics import Interval, RunNoise, bootstrap, share


@dataclass(frozen=True)
class Part:
    """Rows of classes, and the clips on which they are measured."""

    members: np.ndarray  # (R, K) bool: row r holds the clips of these true classes
    clips: np.ndarray  # (N,) bool


@dataclass(frozen=True)
class Paired:
    """Who was right on which clip; `of` makes one."""

    a: tuple[Predictions, ...]
    b: tuple[Predictions, ...]
    right_a: np.ndarray  # (runs of A, N) bool
    right_b: np.ndarray  # (runs of B, N) bool

    @classmethod
    def of(cls, a: Sequence[Predictions], b: Sequence[Predictions]) -> "Paired":
        """Joined by sample id, in the order of A's first run.

        Args:
            a: runs of model A.
            b: runs of model B.

        Raises:
            UserError: other clips, labels or classes; listed.
        """
        first = a[0]
        a, b = (
            tuple(
                _aligned(first, run, f"{who}, run {number}" if len(runs) > 1 else who)
                for number, run in enumerate(runs, start=1)
            )
            for who, runs in (("A", a), ("B", b))
        )
        return cls(a, b, *(np.stack([run.correct for run in runs]) for runs in (a, b)))

    def within(self, top: int) -> "Paired":
        """The same, where a clip is right if its class is among the `top` best ones."""
        hits = (np.stack([run.hits(top) for run in runs]) for runs in (self.a, self.b))
        return Paired(self.a, self.b, *hits)

    @property
    def labels(self) -> np.ndarray:
        """(N,) true classes."""
        return self.a[0].labels

    @property
    def num_classes(self) -> int:
        """K."""
        return self.a[0].num_classes

    @property
    def single(self) -> bool:
        """One run of each: McNemar's test applies."""
        return len(self.a) == len(self.b) == 1

    @property
    def copies(self) -> np.ndarray:
        """(N,) bool: copies of training clips, as far as any of the runs knows."""
        return np.any([run.copies for run in (*self.a, *self.b)], axis=0)

    def everything(self) -> Part:
        """One row with all classes, all clips."""
        return Part(np.ones((1, self.num_classes), bool), np.ones(len(self.labels), bool))

    def changes(self, parts: Sequence[Part], *, seed: int) -> pd.DataFrame:
        """What B changed in each row of classes, over all parts together.

        Args:
            parts: with the same rows; a clip counts at most once a row (parts share no clip).
            seed: of the bootstrap.

        Returns:
            A row a row of classes: `clips`, `a` and `b` (accuracy), `difference`, `low` and `high`
            (95 % interval), `fixed` and `broken` (clips; means over pairs of runs), `p`: exact
            McNemar test for one run each, else that of the bootstrap over runs and clips.
        """
        clips = self._sum(parts, np.ones((1, len(self.labels))))[0]
        right_a, right_b = self._sum(parts, self.right_a), self._sum(parts, self.right_b)
        fixed, broken = self._sum(parts, np.stack([*self._fixed_broken()]))
        interval = self._interval(parts, clips, right_a, right_b, seed)
        accuracy_a = share(right_a.mean(axis=0), clips)
        accuracy_b = share(right_b.mean(axis=0), clips)
        return pd.DataFrame(
            {
                "clips": clips.astype(int),
                "a": accuracy_a,
                "b": accuracy_b,
                "difference": share(right_b.mean(axis=0) - right_a.mean(axis=0), clips),
                "low": interval.low,
                "high": interval.high,
                "fixed": _counted(fixed, self.single),
                "broken": _counted(broken, self.single),
                "p": np.where(
                    clips > 0, mcnemar_p(fixed, broken) if self.single else interval.p, np.nan
                ),
            }
        )

    def _fixed_broken(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) shares of pairs of runs in which B fixes the clip, and in which it breaks it."""
        a, b = self.right_a.mean(axis=0), self.right_b.mean(axis=0)
        return b * (1 - a), a * (1 - b)

    def _sum(self, parts: Sequence[Part], values: np.ndarray) -> np.ndarray:
        """(S, R) sums of values (S, N) over the clips of each row."""
        total = 0
        for part in parts:
            labels = self.labels[part.clips]
            by_class = np.stack(
                [np.bincount(labels, row[part.clips], self.num_classes) for row in values]
            )
            total = total + by_class @ part.members.T
        return total

    def _interval(
        self,
        parts: Sequence[Part],
        clips: np.ndarray,
        right_a: np.ndarray,
        right_b: np.ndarray,
        seed: int,
    ) -> Interval:
        runs_a, runs_b = len(self.a), len(self.b)
        steps = runs_a * self.right_b.sum(axis=0) - runs_b * self.right_a.sum(axis=0)  # (N,)
        kinds = np.unique(np.append(steps, 0))  # one value at least, also without clips
        counts = self._sum(parts, steps == kinds[:, None]).T.round().astype(int)  # (R, V)
        several = [
            (share(right, clips), share(self._sum(parts, _spread(who))[0], clips**2))
            for right, who in ((right_a, self.right_a), (right_b, self.right_b))
            if len(right) > 1
        ]
        noise = RunNoise.of(several) if several else None
        return bootstrap(kinds / (runs_a * runs_b), counts, seed=seed, runs=noise)


def _spread(right: np.ndarray) -> np.ndarray:
    """(1, N) variance of each clip between runs."""
    return right.var(axis=0, ddof=1)[None]


def _counted(clips: np.ndarray, single: bool) -> pd.Series:
    """Clips as whole numbers (that may be missing) for one run each, else means over runs."""
    return pd.Series(clips.round().astype(int), dtype="Int64") if single else pd.Series(clips)


def _aligned(first: Predictions, run: Predictions, who: str) -> Predictions:
    same = run.sample_ids == first.sample_ids and run.class_names == first.class_names
    same = same and np.array_equal(run.labels, first.labels)
    return run if same else align(first, run, who)  # which copies all features
