"""How fast the bot speaks, on a clock that jumps."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from fairlead_irc._flood import SLOWEST, Bucket


async def times(bucket: Bucket, count: int) -> list[float]:
    began, found = trio.current_time(), []
    for _ in range(count):
        await bucket.take()
        found.append(round(trio.current_time() - began, 6))
    return found


async def test_burst_then_one_line_each_time(autojump_clock: MockClock) -> None:
    """As servers count: three at once, then one each two seconds."""
    assert [0, 0, 0, 2, 4] == await times(Bucket(3, 2.0), 5)


async def test_bucket_fills_again_while_nobody_speaks(autojump_clock: MockClock) -> None:
    """Not above the burst."""
    bucket = Bucket(3, 2.0)
    await times(bucket, 5)
    await trio.sleep(4)
    assert [0, 0, 2] == await times(bucket, 3)
    await trio.sleep(1000)
    assert [0, 0, 0, 2] == await times(bucket, 4)


async def test_lines_leave_in_the_order_in_which_they_were_asked_for(autojump_clock: MockClock) -> None:
    """Also where several wait; one that is cancelled holds nobody up."""
    bucket, order = Bucket(1, 1.0), list[int]()

    async def take(number: int) -> None:
        await bucket.take()
        order.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(take, number)
            await wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await bucket.take()
    assert [0, 1, 2, 3] == order


async def test_server_that_complains_makes_it_slower(autojump_clock: MockClock) -> None:
    """Twice as slow each time, up to a limit."""
    bucket = Bucket(1, 1.0)
    bucket.slow_down()
    assert [0, 2] == await times(bucket, 2)
    for _ in range(9):
        bucket.slow_down()
    assert SLOWEST == bucket.factor
