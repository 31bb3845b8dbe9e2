"""Work in few threads: once, with its progress and its error, given up when it is closed."""

import time
from threading import Event, active_count

import pytest

from embed.errors import BusyError, StoreError
from retrieval.service.background import (
    MOST_KEPT,
    NUM_THREADS,
    Background,
    Cancelled,
    Report,
    Works,
)

SECONDS = 10.0


def test_the_result_is_there_when_it_is_ready_and_not_before() -> None:
    may_end = Event()

    def work(report: Report) -> int:
        report(0.25)
        may_end.wait(SECONDS)
        return 42

    background = Works().once(("slow",), work)
    wait_for(lambda: background.progress == 0.25)
    assert not background.is_ready
    with pytest.raises(TimeoutError):
        background.result(0.01)
    may_end.set()
    assert background.result(SECONDS) == 42
    assert (background.is_ready, background.progress) == (True, 1.0)


def test_what_work_raises_is_kept_and_told_to_everyone_who_asks() -> None:
    def work(report: Report) -> int:
        raise StoreError("the disk is gone")

    background = Works().once(("broken",), work)
    for _ in range(2):
        with pytest.raises(StoreError, match="the disk is gone"):
            background.result(SECONDS)
    assert background.is_ready


def test_a_timeout_that_the_work_itself_raises_ends_the_waiting() -> None:
    def work(report: Report) -> int:
        raise TimeoutError("of a share on a network")

    with pytest.raises(TimeoutError, match="of a share"):
        Works().once(("broken",), work).followed(lambda share: None, 1.0)


def test_work_that_is_cancelled_ends_at_its_next_report() -> None:
    begun, may_go_on, went_on = Event(), Event(), Event()

    def work(report: Report) -> int:
        begun.set()
        may_go_on.wait(SECONDS)
        report(0.5)
        went_on.set()
        return 1

    background = Works().once(("unwanted",), work)
    assert begun.wait(SECONDS)
    background.cancel()
    may_go_on.set()
    with pytest.raises(Cancelled):
        background.result(SECONDS)
    assert not went_on.is_set()


def test_work_that_follows_other_work_reports_its_share_of_it() -> None:
    may_end, shares = Event(), list[float]()

    def first(report: Report) -> str:
        report(0.5)
        may_end.wait(SECONDS)
        return "candidates"

    before = Works().once(("first",), first)
    wait_for(lambda: before.progress == 0.5)

    def report(share: float) -> None:
        shares.append(share)
        may_end.set()

    assert before.followed(report, 0.8) == "candidates"
    assert shares[0] == pytest.approx(0.4)


def test_work_of_one_name_is_done_once() -> None:
    calls, works = list[float](), Works()

    def work(report: Report) -> int:
        calls.append(1.0)
        return 7

    backgrounds = [works.once(("map", "hog"), work) for _ in range(3)]
    assert [background.result(SECONDS) for background in backgrounds] == [7, 7, 7]
    assert len(calls) == 1
    assert works.once(("map", "tfidf"), work).result(SECONDS) == 7
    assert len(calls) == 2


def test_of_one_kind_the_results_that_were_asked_for_last_are_kept() -> None:
    works, calls = Works(), list[str]()

    def once(kind: str, name: str) -> None:
        def work(report: Report) -> str:
            calls.append(name)
            return name

        works.once((kind, name), work).result(SECONDS)

    once("pairs", "all")
    for number in range(MOST_KEPT):
        once("map", str(number))
    once("map", "0")  # is now the one that was asked for last
    once("map", "one more")
    once("map", "0")
    once("pairs", "all")
    assert calls.count("0") == calls.count("all") == 1
    once("map", "1")
    assert calls.count("1") == 2


def test_no_more_is_begun_than_can_be_kept_and_nothing_that_is_waited_for_is_given_up() -> None:
    works, may_end, before = Works(), Event(), active_count()

    def begun(kind: str, number: int) -> Background[int]:
        def work(report: Report) -> int:
            may_end.wait(SECONDS)
            report(0.5)
            return number

        return works.once((kind, str(number)), work)

    waiting = [begun("groups", number) for number in range(MOST_KEPT)]
    for number in range(MOST_KEPT, 60):
        with pytest.raises(BusyError, match="4 different groups"):
            begun("groups", number)
    waiting += [begun("map", number) for number in range(MOST_KEPT)]
    assert active_count() - before <= NUM_THREADS
    may_end.set()
    assert [each.result(SECONDS) for each in waiting] == [*range(MOST_KEPT)] * 2
    assert begun("groups", 60).result(SECONDS) == 60
    wait_for(lambda: active_count() <= before)


def test_works_that_follow_one_another_need_no_thread_each() -> None:
    works = Works()

    def link(number: int) -> Background[int]:
        def work(report: Report) -> int:
            if number == 0:
                report(0.5)
                return 1
            return link(number - 1).followed(report, 0.5) + 1

        return works.once((f"link {number}",), work)

    assert link(NUM_THREADS + 5).result(SECONDS) == NUM_THREADS + 6


def test_what_still_waits_is_given_up_with_the_rest() -> None:
    works, begun, may_end = Works(), Event(), Event()

    def work(report: Report) -> int:
        begun.set()
        may_end.wait(SECONDS)
        report(0.5)
        return 1

    all_works = [works.once(("map", str(number)), work) for number in range(NUM_THREADS + 1)]
    assert begun.wait(SECONDS)
    works.close()
    may_end.set()
    for each in all_works:
        with pytest.raises(Cancelled, match="ask again"):
            each.result(SECONDS)


def test_closing_gives_up_all_work_and_begins_no_more() -> None:
    works, begun, may_go_on = Works(), Event(), Event()

    def work(report: Report) -> int:
        begun.set()
        may_go_on.wait(SECONDS)
        report(0.5)
        return 1

    background = works.once(("pairs",), work)
    assert begun.wait(SECONDS)
    works.close()
    may_go_on.set()
    with pytest.raises(Cancelled):
        background.result(SECONDS)
    with pytest.raises(Cancelled):
        works.once(("pairs",), work)


def wait_for(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
