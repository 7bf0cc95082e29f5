"""A lock that is given in the order in which threads asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cocom.fair_lock import FairLock


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_threads_have_their_turns_in_order() -> None:
    lock = FairLock()
    order: list[int] = []

    def work(number: int) -> None:
        assert lock.acquire()
        order.append(number)
        lock.release()

    lock.acquire()
    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        wait_until(lambda n=number: len(lock._waiting) == n + 1)  # type: ignore[misc]
    assert lock.wanted
    lock.release()
    lock.acquire()  # behind the others
    assert order == [0, 1, 2, 3, 4]
    lock.release()
    for thread in threads:
        thread.join()
    assert not lock.wanted


def test_a_thread_may_take_it_again() -> None:
    lock = FairLock()
    lock.acquire()
    lock.acquire()
    lock.release()
    taken: list[bool] = []
    thread = threading.Thread(target=lambda: taken.append(lock.acquire(timeout=0.01)))
    thread.start()
    thread.join()
    assert taken == [False]
    assert not lock.wanted  # it has left the queue
    lock.release()
    thread = threading.Thread(target=lambda: taken.append(lock.acquire(timeout=1)))
    thread.start()
    thread.join()
    assert taken == [False, True]


def test_one_at_a_time_under_contention() -> None:
    lock = FairLock()
    inside, most, turns = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, turns
        for _ in range(200):
            lock.acquire()
            inside += 1
            most = max(most, inside)
            turns += 1
            inside -= 1
            lock.release()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, turns) == (1, 1200)
