import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from serve_app.admission import Admission, TellTakes
from serve_app.haproxy import FRAMES, TAKES
from serve_app.wire import WireError


def test_a_lone_frame_always_enters() -> None:
    Admission(10, 10, 0).enter(1000)


def test_a_frame_beyond_the_limit_is_refused_with_when_to_come_back() -> None:
    admission = Admission(10, 100, 0)
    admission.enter(60)
    admission.enter(60)  # HAProxy may be a little behind
    with pytest.raises(WireError) as caught:
        admission.enter(60)
    assert (caught.value.status, caught.value.retry_after) == (503, 1)


def test_slow_frames_lower_the_limit_once_a_step_and_not_below_the_floor() -> None:
    admission = Admission(100, 1000, 0)
    for _ in range(2):  # both began before the first step: they tell the same thing
        admission.enter(10)
    admission.leave(10, began=0.0, budget=1.0, now=0.9)
    admission.leave(10, began=0.0, budget=1.0, now=0.9)
    assert admission.limit == 800
    for step in range(1, 50):
        admission.enter(10)
        admission.leave(10, began=float(step), budget=1.0, now=step + 0.9)
    assert admission.limit == 100


def test_a_budget_that_nothing_could_hold_does_not_lower_the_limit_of_all() -> None:
    """A caller that waits for a millisecond, or whose body took nearly all of its budget to come."""
    admission = Admission(100, 1000, 0)
    for step in range(1, 50):
        admission.enter(10)
        admission.leave(10, began=float(step), budget=0.001, now=step + 0.002)
    assert admission.limit == 1000
    admission.enter(10)
    admission.leave(10, began=100.0, budget=0.001, now=100.015)  # so long waits who does not find it idle
    assert admission.limit < 1000


def test_fast_frames_raise_it_again_when_it_is_in_the_way() -> None:
    admission = Admission(100, 1000, 0)
    admission.limit = 100
    admission.enter(1)
    for step in range(300):
        frame = int(admission.limit / 2) + 1
        admission.enter(frame)
        admission.leave(frame, began=float(step), budget=1.0, now=step + 0.1)
    assert admission.limit == 1000


def test_an_idle_limit_stays() -> None:
    admission = Admission(100, 1000, 0)
    admission.limit = 500
    admission.enter(1)
    admission.leave(1, began=0.0, budget=1.0, now=0.1)
    assert admission.limit == 500


def test_past_saturation_what_is_done_is_done_in_time() -> None:
    """A server of two frames a tick, offered ten times that; who has waited ten ticks is gone before its turn."""
    admission = Admission(50, 100_000, 0)
    queue: list[int] = []
    done = expired = 0
    for tick in range(3000):
        for _ in range(20):
            try:
                admission.enter(50)
                queue.append(tick)
            except WireError:
                pass
        gone = sum(tick - began >= 10 for began in queue)
        for began in queue[: gone + 2]:
            admission.leave(50, began, 10.0, tick + 1)
        done, expired = done + len(queue[gone : gone + 2]), expired + gone
        del queue[: gone + 2]
    assert done > 0.99 * 6000
    assert expired < 0.5 * done


def test_it_says_how_many_frames_like_the_recent_ones_it_takes() -> None:
    admission = Admission(100, 1000, 50)
    assert admission.frames is None
    for _ in range(200):
        admission.enter(150)
        admission.leave(150, began=0.0, budget=1.0, now=0.1)
    assert admission.frames == 5
    for _ in range(200):
        admission.enter(50)
        admission.leave(50, began=0.0, budget=1.0, now=0.1)
    assert admission.frames == 10


@pytest.mark.anyio
async def test_requests_of_other_kinds_are_let_in_beside_the_frames() -> None:
    admission, told, hold = Admission(100, 1000, 50), [], asyncio.Event()
    admission.enter(200)
    admission.leave(200, began=0.0, budget=1.0, now=0.1)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != FRAMES:
            await hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})

    async def send(message: Message) -> None:
        told.append(dict(message["headers"]).get(TAKES.encode()))

    middleware = TellTakes(app, admission)
    other = asyncio.create_task(middleware({"type": "http", "path": "/v1/lists"}, receive, send))
    await asyncio.sleep(0)
    await middleware({"type": "http", "path": FRAMES}, receive, send)
    hold.set()
    await other
    await middleware({"type": "http", "path": FRAMES}, receive, send)
    assert told == [b"5", None, b"4"]


async def receive() -> Message:
    raise NotImplementedError
