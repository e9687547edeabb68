"""How the writer's thread and the tasks of trio wake each other."""

from __future__ import annotations

import threading

from fairlead_sqlite._bell import Door

VALUES = 20_000


def test_thread_takes_everything_in_order_and_sleeps_in_between() -> None:
    """Whenever something is left, before the thread sleeps, while it falls asleep or after, it takes it."""
    door: Door[int] = Door()
    taken: list[int] = []
    halves = [threading.Semaphore(0), threading.Semaphore(0)]

    def take() -> None:
        while len(taken) < VALUES:
            taken.append(door.take())
            halves[taken[-1] % 2].release()
        door.close()

    thread = threading.Thread(target=take)
    thread.start()
    for value in range(VALUES):
        door.leave(value)
        if value % 3:  # now and then more than one lies there
            assert halves[value % 2].acquire(timeout=30)
    thread.join(30)
    assert not thread.is_alive()
    assert list(range(VALUES)) == taken


def test_many_values_wake_the_thread_once() -> None:
    """The pipe has a byte for each sleep and not for each value, so it cannot fill up."""
    door: Door[int] = Door()
    for value in range(200_000):
        door.leave(value)
    assert list(range(200_000)) == [door.take() for _ in range(200_000)]
    assert door.empty
    door.close()
