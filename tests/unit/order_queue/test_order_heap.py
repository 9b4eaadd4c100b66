import itertools
import threading
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import given, strategies as st

from order_queue.order_heap import OrderHeap


def heap_of(*orders: tuple[str, int, int]) -> OrderHeap:
    heap = OrderHeap(threading.Lock())
    for order_id, quantity, position in orders:
        heap.push(order_id, quantity=quantity, position=position)
    return heap


def test_most_books_come_first_and_ties_go_to_the_earliest_arrival() -> None:
    heap = heap_of(("late", 5, 9), ("small", 1, 1), ("early", 5, 4), ("large", 7, 8))
    assert heap.first(10) == ["large", "early", "late", "small"]


def test_looking_takes_nothing_out() -> None:
    heap = heap_of(("a", 2, 1), ("b", 1, 2))
    assert heap.first(1) == heap.first(1) == ["a"]
    assert len(heap) == 2


def test_excluded_orders_are_passed_over_and_stay() -> None:
    heap = heap_of(("a", 3, 1), ("b", 2, 2), ("c", 1, 3))
    assert heap.first(1, excluding={"a", "b"}) == ["c"]
    assert heap.first(1) == ["a"]


def test_a_removed_order_is_gone_wherever_it_lay() -> None:
    heap = heap_of(("a", 3, 1), ("b", 2, 2), ("c", 1, 3))
    heap.remove("b")
    assert heap.first(10) == ["a", "c"]
    with pytest.raises(KeyError):
        heap.remove("b")


def test_removed_orders_do_not_pile_up_where_nobody_looks() -> None:
    heap = heap_of(("large", 99, 0))
    for position in range(1, 2_000):
        heap.push(f"{position}", quantity=1, position=position)
        heap.remove(f"{position}")
    assert len(heap._heap) < 100
    assert heap.first(2) == ["large"]


def test_it_counts_who_comes_before() -> None:
    heap = heap_of(("a", 3, 1), ("b", 2, 2), ("gone", 2, 0), ("c", 1, 3))
    heap.remove("gone")
    assert [heap.ahead_of(order_id) for order_id in "abc"] == [0, 1, 2]
    assert heap.ahead_of("c", excluding={"a"}) == 1
    with pytest.raises(KeyError):
        heap.ahead_of("gone")


def test_with_ageing_an_order_that_waits_overtakes_larger_ones_that_come_late() -> None:
    heap = OrderHeap(threading.Lock(), ageing=10)
    for order_id, quantity, position in (("small", 1, 1), ("at once", 3, 20), ("just in time", 3, 21), ("late", 3, 22)):
        heap.push(order_id, quantity=quantity, position=position)
    assert heap.first(4) == ["at once", "small", "just in time", "late"]


def test_without_ageing_no_wait_outweighs_a_book() -> None:
    heap = heap_of(("small", 1, 1), ("large", 2, 10**9))
    assert heap.first(1) == ["large"]


def test_an_order_is_not_pushed_twice() -> None:
    heap = heap_of(("a", 3, 1))
    with pytest.raises(AssertionError, match="already in the heap"):
        heap.push("a", quantity=3, position=2)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=200), st.integers(0, 20))
def test_it_agrees_with_a_sorted_list(steps: list[tuple[int, bool]], count: int) -> None:
    heap = heap_of()
    model: list[tuple[int, int, str]] = []
    for position, (quantity, remove_first) in enumerate(steps):
        heap.push(f"{position}", quantity=quantity, position=position)
        model.append((-quantity, position, f"{position}"))
        model.sort()
        if remove_first:
            assert heap.first(1) == [model[0][2]]
            heap.remove(model.pop(0)[2])
    excluded = {entry[2] for entry in model[::2]}
    assert heap.first(count) == [entry[2] for entry in model][:count]
    assert heap.first(count, excluding=excluded) == [entry[2] for entry in model[1::2]][:count]
    assert len(heap) == len(model)


class _StopsInside(set[str]):
    """Excludes nothing, and holds up the look that asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = threading.Event()
        self.go_on = threading.Event()

    def __contains__(self, item: object) -> bool:
        self.inside.set()
        assert self.go_on.wait(timeout=30)
        return False


def test_a_look_never_sees_the_middle_of_another_one() -> None:
    heap = heap_of(("a", 2, 1), ("b", 1, 2))
    stops_inside = _StopsInside()
    seen: list[list[str]] = []
    slow = threading.Thread(target=lambda: seen.append(heap.first(1, excluding=stops_inside)), daemon=True)
    slow.start()
    assert stops_inside.inside.wait(timeout=30)
    # While the slow look has "a" in its hands: without the lock this one would end now, and not see it.
    second = threading.Thread(target=lambda: seen.append(heap.first(2)), daemon=True)
    second.start()
    second.join(timeout=0.1)
    stops_inside.go_on.set()
    slow.join(timeout=30)
    second.join(timeout=30)
    assert seen == [["a"], ["a", "b"]]


def test_threads_that_push_take_and_remove_at_once_lose_and_double_nothing() -> None:
    """Each taker owns the orders whose removal succeeded: all orders, each once."""
    heap = heap_of()
    orders, pushers, takers = 600, 3, 3
    taken: list[list[str]] = [[] for _ in range(takers)]
    pushed = threading.Semaphore(0)
    start = threading.Barrier(pushers + takers)

    def push(number: int) -> None:
        start.wait()
        for position in range(number, orders, pushers):
            heap.push(f"{position}", quantity=position % 7 + 1, position=position)
            pushed.release()

    def take(mine: list[str]) -> None:
        start.wait()
        for _ in range(orders // takers):
            pushed.acquire()
            while True:
                order_ids = heap.first(1)
                try:
                    heap.remove(order_ids[0])
                except KeyError:
                    continue  # another thread was faster
                mine += order_ids
                break

    _run_all([*(partial(push, number) for number in range(pushers)), *(partial(take, mine) for mine in taken)])
    assert sorted(itertools.chain(*taken), key=int) == [f"{position}" for position in range(orders)]
    assert len(heap) == 0


def _run_all(parts: Sequence[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def guarded(part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=guarded, args=(part,), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures
