"""The weights of a blend that a metric is best for, on the simplex: from 0, and 1 in all."""

from collections.abc import Callable

Weights = tuple[float, ...]
STEPS_OF_TWO = 100
STEPS_OF_MORE = 20
MAX_ROUNDS = 10


def equal_weights(num_members: int) -> Weights:
    """The same for all."""
    return (1 / num_members,) * num_members


def best_weights(num_members: int, value_of: Callable[[Weights], float]) -> Weights:
    """The weights that `value_of` is highest for, among those that are tried.

    For two members these are all hundredths, and of equals those nearest to equal weights. For more
    the search goes up one member at a time: its share takes each twentieth while the others keep
    their proportions, until a round over the members finds nothing better. It starts at equal
    weights or at one member alone, whichever is best; the result is no worse than any of these.

    The metrics of heads are steps, not slopes, so gradients are of no use here.
    """
    if num_members > 2:
        return _ascended(num_members, value_of)
    shares = [step / STEPS_OF_TWO for step in range(STEPS_OF_TWO + 1)]
    tried = list(zip(reversed(shares), shares, strict=True))
    return max(tried, key=lambda weights: (value_of(weights), -abs(weights[0] - 0.5)))


def _ascended(num_members: int, value_of: Callable[[Weights], float]) -> Weights:
    alone = [_alone(number, num_members) for number in range(num_members)]
    starts = [equal_weights(num_members), *alone]
    values = [value_of(weights) for weights in starts]
    value = max(values)
    best = starts[values.index(value)]
    for _ in range(MAX_ROUNDS):
        before = value
        for number in range(num_members):
            for step in range(STEPS_OF_MORE + 1):
                tried = _with_share(best, number, step / STEPS_OF_MORE)
                if (found := value_of(tried)) > value:
                    best, value = tried, found
        if value == before:
            break
    return best


def _alone(number: int, num_members: int) -> Weights:
    return tuple(float(other == number) for other in range(num_members))


def _with_share(weights: Weights, number: int, share: float) -> Weights:
    """The weights with another share for one member; the others keep their proportions."""
    left = sum(weights) - weights[number]
    others = [w / left if left > 0 else 1 / (len(weights) - 1) for w in weights]
    return tuple(
        share if other == number else (1 - share) * part for other, part in enumerate(others)
    )
