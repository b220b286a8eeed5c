"""The turns of cells: in order, never at once, and none is lost because another one raised."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from perdure.actors._dispatcher import Dispatcher


def test_turns_come_in_order_and_what_is_added_meanwhile_comes_after_input_and_output() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        dispatcher = Dispatcher(loop)
        seen: list[str] = []
        done = loop.create_future()

        def turn(name: str) -> Callable[[], None]:
            return lambda: seen.append(name)

        def again() -> None:
            seen.append("again")
            dispatcher.add(turn("added meanwhile"))
            loop.call_soon(seen.append, "another callback")
            loop.call_soon(dispatcher.add, lambda: done.set_result(None))

        dispatcher.add(turn("first"))
        dispatcher.add(again)
        dispatcher.add(turn("third"))
        assert seen == []
        await asyncio.wait_for(done, 60)
        return seen

    expected = ["first", "again", "third", "another callback", "added meanwhile"]
    assert asyncio.run(main()) == expected


def test_a_turn_that_raises_is_reported_and_loses_no_other() -> None:
    async def main() -> tuple[list[str], list[object]]:
        loop = asyncio.get_running_loop()
        reported: list[object] = []
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        dispatcher = Dispatcher(loop)
        seen: list[str] = []
        done = loop.create_future()
        dispatcher.add(lambda: seen.append("before"))
        dispatcher.add(lambda: seen.remove("nobody"))
        dispatcher.add(lambda: seen.append("after"))
        dispatcher.add(lambda: done.set_result(None))
        await asyncio.wait_for(done, 60)
        return seen, reported

    seen, reported = asyncio.run(main())
    assert seen == ["before", "after"]
    assert [type(error) for error in reported] == [ValueError]
