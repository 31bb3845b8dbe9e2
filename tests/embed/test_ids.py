import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from embed.ids import ABSENT, IdIndex, Repeat, find_repeat

IDS = st.lists(st.text(max_size=6), unique=True, max_size=40)


@given(ids=IDS, wanted=st.lists(st.text(max_size=6), max_size=40), size=st.integers(1, 7))
def test_rows_are_those_of_a_dictionary(ids: list[str], wanted: list[str], size: int) -> None:
    blocks = [ids[start : start + size] for start in range(0, len(ids), size)]
    rows = {item_id: row for row, item_id in enumerate(ids)}
    asked = [*wanted, *reversed(ids)]
    expected = [rows.get(item_id, ABSENT) for item_id in asked]
    index = IdIndex(blocks)
    assert len(index) == len(ids)
    np.testing.assert_array_equal(index.find(asked), np.array(expected, np.int64))


@given(ids=st.lists(st.text("ab", max_size=3), max_size=20), size=st.integers(1, 7))
def test_the_first_repeat_is_found(ids: list[str], size: int) -> None:
    blocks = [ids[start : start + size] for start in range(0, len(ids), size)]
    later = [row for row, item_id in enumerate(ids) if item_id in ids[:row]]
    first = ids.index(ids[later[0]]) if later else 0
    expected = Repeat(first, later[0], len(later)) if later else None
    assert find_repeat(blocks) == expected


def test_it_takes_few_bytes_an_id() -> None:
    import tracemalloc

    tracemalloc.start()
    index = IdIndex([f"product-{block}-{row}" for row in range(1000)] for block in range(100))
    current, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert current / len(index) < 30
