"""Samplers: which rows an epoch shows, how often, and in which batches."""

import time
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import WeightedRandomSampler

from embed.errors import SelectionError, SettingsError
from heads.training.sampling import SAMPLERS, Sampler, SamplingSettings, make_sampler

# Classes of 40, 6, 2 and 12 rows, mixed, with numbers that leave gaps.
LABELS = torch.tensor([3] * 40 + [7] * 6 + [8] * 2 + [20] * 12)[
    torch.randperm(60, generator=torch.Generator().manual_seed(5))
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def epoch(sampler: Sampler, generator: torch.Generator | None = None) -> list[Tensor]:
    return list(sampler.batches(generator or seeded()))


def of(name: str, batch_size: int = 8, labels: Tensor = LABELS) -> Sampler:
    return make_sampler(labels, SamplingSettings(batch_size, name))  # type: ignore[arg-type]


@given(num_rows=st.integers(2, 70), batch_size=st.integers(2, 20))
@settings(max_examples=60)
def test_uniform_shows_every_row_once_and_no_batch_of_one(num_rows: int, batch_size: int) -> None:
    sampler = make_sampler(torch.zeros(num_rows, dtype=torch.int64), SamplingSettings(batch_size))
    batches = epoch(sampler)
    assert sorted(torch.cat(batches).tolist()) == list(range(num_rows))
    assert len(batches) == sampler.num_steps
    sizes = [len(batch) for batch in batches]
    assert min(sizes) > 1
    # Whole batches, then what is left over; one row alone joins the batch before it.
    rest = num_rows % batch_size
    whole = [batch_size] * (num_rows // batch_size)
    joined = [*whole[:-1], batch_size + 1]
    expected = joined if rest == 1 else whole + [rest] * (rest > 0)
    assert sizes == expected


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_epoch_depends_on_the_state_of_the_generator_alone(name: str) -> None:
    sampler = of(name)
    generator = seeded(3)
    epoch(sampler, generator)
    state = generator.get_state()
    second = torch.cat(epoch(sampler, generator))

    again = torch.Generator()
    again.set_state(state)
    assert torch.equal(torch.cat(epoch(of(name), again)), second)
    assert not torch.equal(torch.cat(epoch(sampler, generator)), second)
    assert second.dtype == torch.int64
    assert second.device.type == "cpu"


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_are_counted_before_they_are_taken(name: str) -> None:
    for batch_size in (8, 12, 16):
        sampler = of(name, batch_size, LABELS[:57])
        assert len(epoch(sampler)) == sampler.num_steps


def test_class_balanced_shows_classes_equally_and_rows_before_they_repeat() -> None:
    labels = LABELS[:-1]  # 59 rows in four classes: three come 15 times, and one 14 times
    sampler = of("class-balanced", 8, labels)
    generator = seeded()
    extra = set()
    for _ in range(20):
        rows = torch.cat(epoch(sampler, generator))
        counts = Counter(labels[rows].tolist())
        assert sorted(counts.values()) == [14, 15, 15, 15]
        extra.add(min(counts, key=lambda label: counts[label]))
        for label in counts:
            mine = rows[labels[rows] == label].tolist()
            size = int((labels == label).sum())
            for start in range(0, len(mine), size):
                chunk = mine[start : start + size]
                assert len(set(chunk)) == len(chunk)
    assert len(extra) == 4  # it is not always the same class that comes less often


def test_inverse_frequency_is_the_weighted_sampler_of_torch() -> None:
    sampler = of("inverse-frequency")
    sizes = torch.bincount(LABELS)[LABELS]
    num_epochs = 400
    generator = seeded()
    ours = torch.cat([torch.cat(epoch(sampler, generator)) for _ in range(num_epochs)])
    weighted = WeightedRandomSampler(
        (1 / sizes).tolist(), num_epochs * len(LABELS), generator=seeded(1)
    )
    theirs = torch.tensor(list(weighted))
    expected = num_epochs * len(LABELS) / (4 * sizes)
    for drawn in (ours, theirs):
        counts = torch.bincount(drawn, minlength=len(LABELS))
        # Counts of independent draws deviate by about the root of what is expected.
        assert ((counts - expected).abs() / expected.sqrt()).max() < 5
        assert ((counts - expected) ** 2 / expected).sum() < 2 * len(LABELS)


def test_inverse_frequency_draws_independently() -> None:
    # Ten rows drawn ten times with replacement show 6.5 of them; class-balanced shows all ten.
    labels = torch.arange(100) // 10
    shown = {}
    for name in ("inverse-frequency", "class-balanced"):
        sampler, generator = of(name, 10, labels), seeded()
        epochs = [torch.cat(epoch(sampler, generator)) for _ in range(50)]
        shown[name] = sum(len(set(rows.tolist())) for rows in epochs) / 5000
    assert shown["inverse-frequency"] == pytest.approx(1 - 0.9**10, abs=0.03)
    assert shown["class-balanced"] == 1


def test_m_per_class_has_m_rows_of_each_class_of_a_batch() -> None:
    sampler = make_sampler(LABELS, SamplingSettings(6, "m-per-class", per_class=3))
    generator = seeded()
    seen: Counter[int] = Counter()
    for _ in range(20):
        batches = epoch(sampler, generator)
        assert len(batches) == len(LABELS) // 6
        for batch in batches:
            counts = Counter(LABELS[batch].tolist())
            assert list(counts.values()) == [3, 3]
            for label in counts:
                mine = batch[LABELS[batch] == label]
                # Two rows are all that class 8 has; the others' rows differ.
                assert len(set(mine.tolist())) == (2 if label == 8 else 3)
            seen.update(counts)
    assert max(seen.values()) < 1.1 * min(seen.values())  # whatever the classes' sizes


def test_m_per_class_shows_classes_and_rows_before_they_repeat() -> None:
    labels = torch.arange(120) // 12  # ten classes of twelve; four of them in a batch
    sampler = make_sampler(labels, SamplingSettings(12, "m-per-class", per_class=3))
    rows = torch.cat(epoch(sampler))
    first_round = labels[rows[:24]].tolist()
    assert len(set(first_round)) == 8  # two whole batches; the two classes left over wait
    for label in range(10):
        mine = rows[labels[rows] == label].tolist()
        assert len(set(mine[:12])) == len(mine[:12])


def test_m_per_class_tells_of_classes_that_are_too_small() -> None:
    assert of("m-per-class").note.startswith("1 of 4 classes has fewer than 4 rows")
    assert make_sampler(LABELS, SamplingSettings(8, "m-per-class", per_class=2)).note == ""
    assert of("uniform").note == ""
    single = torch.cat([LABELS, torch.tensor([50, 51])])
    with pytest.raises(SettingsError, match=r"2 of 6 classes have one.*--min-per-class 2"):
        of("m-per-class", labels=single)
    with pytest.raises(SettingsError, match=r"5 classes, and there are 4: .*at most 16"):
        of("m-per-class", 20)


def test_few_rows_still_make_a_batch_of_m_per_class() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    batches = epoch(of("m-per-class", 8, labels))
    assert [sorted(batch.tolist()) for batch in batches] == [[0, 0, 1, 1, 2, 2, 3, 3]]


def test_large_catalogues_take_little_time() -> None:
    labels = torch.from_numpy(np.random.default_rng(0).permutation(np.arange(200_000) % 10_000))
    for name in SAMPLERS:
        sampler = of(name, 256, labels)
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            epoch(sampler)
            seconds.append(time.perf_counter() - started)
        assert min(seconds) < 0.3, name  # 0.03 where nothing else runs; a plain loop takes 1


def test_one_row_is_refused() -> None:
    with pytest.raises(SelectionError, match="at least 2 rows: found 1"):
        of("uniform", labels=torch.tensor([4]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 1}, "--batch-size is at least 2: found 1"),
        ({"per_class": 3}, "--per-class is for --sampler m-per-class: found 3"),
        ({"sampler": "m-per-class", "per_class": 1}, "--per-class is at least 2"),
        ({"sampler": "m-per-class", "batch_size": 255}, "found 255 and 4; try --batch-size 256"),
        ({"sampler": "m-per-class", "batch_size": 4}, "at least 2 classes.*try --batch-size 8"),
    ],
)
def test_settings_that_do_not_fit(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SamplingSettings(**fields)  # type: ignore[arg-type]
