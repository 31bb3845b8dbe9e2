"""The weights of a blend that a metric is best for, on the simplex: from 0, and 1 in all."""

from collections.abc import Callable

Weights = tuple[float, ...]
OnTried = Callable[[int, Weights, float], None]
"""Told how many weights were tried, the best of them, and its value."""

NUM_COARSE = 10
FINE_STEPS = (0.05, 0.02, 0.01)
MAX_ROUNDS = 10


def equal_weights(num_members: int) -> Weights:
    """The same for all."""
    return (1 / num_members,) * num_members


def best_weights(
    num_members: int,
    value_of: Callable[[Weights], float],
    on_tried: OnTried = lambda number, best, value: None,
) -> Weights:
    """The weights that `value_of` is highest for among those that are tried, none of them twice.

    The search starts at equal weights or at one member alone, whichever is best, and changes one
    member's share at a time while the others keep their proportions. Coarse first: each share takes
    each tenth. Then fine: shares go up and down by 0.05, by 0.02 and by 0.01, each until nothing is
    better. For two members these are some 20 weights instead of all 101 hundredths, for three some
    60; a higher peak between two tenths that are both lower than the best can be missed. The result
    is no worse than equal weights or any member alone. Of equally good weights those nearest to
    equal ones are taken.

    The metrics of heads are steps, not slopes, so gradients are of no use here.
    """
    climb = _Climb(num_members, value_of, on_tried)
    for weights in (equal_weights(num_members), *_alone(num_members)):
        climb.attempt(weights)
    for member in range(num_members):
        for step in range(NUM_COARSE + 1):
            climb.attempt(_with_share(climb.best, member, step / NUM_COARSE))
    for size in FINE_STEPS:
        climb.by_steps(size)
    return climb.best


class _Climb:
    """The best weights so far, and those that were tried."""

    def __init__(
        self,
        num_members: int,
        value_of: Callable[[Weights], float],
        on_tried: OnTried,
    ) -> None:
        self._value_of, self._on_tried = value_of, on_tried
        self._equal = equal_weights(num_members)
        self._tried: set[Weights] = set()
        self.best: Weights = ()
        self._rank = (float("-inf"), 0.0)

    def attempt(self, weights: Weights) -> None:
        """Keep them if they are better than the best."""
        key = tuple(round(weight, 6) for weight in weights)
        if key in self._tried:
            return
        self._tried.add(key)
        # Rounded, lest rounding errors pass for progress.
        distance = sum(abs(w - e) for w, e in zip(weights, self._equal, strict=True))
        rank = (self._value_of(weights), -round(distance, 6))
        if not self.best or rank > self._rank:
            self.best, self._rank = weights, rank
        self._on_tried(len(self._tried), self.best, self._rank[0])

    def by_steps(self, size: float) -> None:
        """Each share up and down, until a round over all of them finds nothing better."""
        for _ in range(MAX_ROUNDS):
            before = self.best
            for member in range(len(before)):
                for step in (size, -size):
                    share = round(self.best[member] + step, 6)
                    self.attempt(_with_share(self.best, member, min(1.0, max(0.0, share))))
            if self.best == before:
                break


def _alone(num_members: int) -> list[Weights]:
    """Each member by itself."""
    members = range(num_members)
    return [tuple(float(other == member) for other in members) for member in members]


def _with_share(weights: Weights, number: int, share: float) -> Weights:
    """The weights with another share for one member; the others keep their proportions."""
    left = sum(weights) - weights[number]
    others = [w / left if left > 0 else 1 / (len(weights) - 1) for w in weights]
    return tuple(  # 0.3 and not 0.30000000000000004
        share if other == number else round((1 - share) * part, 12)
        for other, part in enumerate(others)
    )
