"""Train reduced-rank regression: two passes, as of all methods that see the whole image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mrdist.baselines.dual import Dual, Matrix
from mrdist.methods.reduced_rank.solving import reduced_rank
from mrdist.methods.whole.phases import WholeWork


class ReducedRankWork(WholeWork):
    """A training of ``rrr``; it sums the inner products of the targets too, of which its directions are chosen."""

    @property
    def summed(self) -> Sequence[str]:
        """Both labels."""
        return [self.lesson.source, self.lesson.target]

    def solver(self, kernel: Matrix, targets: Matrix | None) -> Callable[[float], Dual]:
        """Return what solves for a penalty, see `mrdist.methods.reduced_rank.solving.reduced_rank`."""
        assert targets is not None
        assert self.training.components is not None
        return reduced_rank(kernel, targets, self.training.components)
