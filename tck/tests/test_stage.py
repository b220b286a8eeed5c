"""The loop in a thread: what it answers when an answer and the end of patience meet."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

import pytest
from perdure_tck.stage import LoopThread, Pulse


class Late(concurrent.futures.Future[Any]):
    """A future that ends just after the first who waits has stopped waiting."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self._answer = answer

    def result(self, timeout: float | None = None) -> Any:
        if self.done():
            return super().result(timeout)
        if isinstance(self._answer, BaseException):
            self.set_exception(self._answer)
        else:
            self.set_result(self._answer)
        raise concurrent.futures.TimeoutError


@pytest.fixture
def loop() -> Any:
    thread = LoopThread()
    yield thread
    thread.stop()


def answered(loop: LoopThread, monkeypatch: pytest.MonkeyPatch, answer: object) -> object:
    def late(work: Any, _: object) -> Late:
        work.close()
        return Late(answer)

    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", late)
    try:
        return loop.run(asyncio.sleep(0), Pulse())
    finally:
        monkeypatch.undo()


def test_an_answer_that_comes_just_after_a_look_is_an_answer(loop: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answered(loop, monkeypatch, 5) == 5


def test_an_exception_that_comes_just_after_a_look_is_that_exception(
    loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TimeoutError, match="of the work itself"):
        answered(loop, monkeypatch, TimeoutError("of the work itself"))
