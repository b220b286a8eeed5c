"""The troupe: the actors of one program, played by the runtime under test on the storage of the backend under test.

Each persistence id has a player, which knows in which house its actor lives, and what it noted. A step is over when
the actors of its house and their storage have come to rest.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

from perdure import (
    ActorRef,
    ActorRuntime,
    ActorSystem,
    Storage,
)

from .actor_operations import (
    AnyActorOperation,
    Crash,
    Disturb,
    Release,
    StartActor,
    StopActor,
    Tell,
    Wait,
)
from .house import CALLS_MAX, House
from .leaping import LeapingLoop
from .operation import quoted
from .outcomes import Notes
from .part import Said, part_of
from .part_machine import machine_of
from .part_queue import answer_of, queue_of
from .program import Step
from .wings import Wings

LEAP_S = 5.0
LEAPS = 10

logging.getLogger("perdure").addHandler(logging.NullHandler())  # what actors complain of here was done to them


class _Teller(ActorRef):
    """Who tells a command; what it is answered, the player notes."""

    def __init__(self, path: str, player: Player) -> None:
        super().__init__(path)
        self._player = player

    def tell(self, message: object, sender: ActorRef | None = None) -> None:
        self._player.answered(answer_of(message))


class Player:
    """The actor of one id, over all of its incarnations."""

    def __init__(self, persistence_id: str) -> None:
        self.persistence_id = persistence_id
        self.start = StartActor(persistence_id)
        self.once_stashed: set[tuple[int, int]] = set()
        self.house: House | None = None
        self._notes: list[str] = []
        self._troubles: list[Disturb] = []
        self._incarnations = 0
        self._ref: ActorRef | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._of_recovery: list[str] | None = None

    def note(self, text: str) -> None:
        (self._notes if self._of_recovery is None else self._of_recovery).append(text)

    def answered(self, text: str) -> None:
        self._notes.append(text)

    def recovers(self) -> None:
        """An instance begins. What it notes from now on counts only if the recovery becomes whole."""
        if self.house is not None:
            self.house.new_writer_uuid = self._new_writer_uuid
        self._of_recovery = []

    def recovered(self, whole: bool = True) -> None:
        noted, self._of_recovery = self._of_recovery or [], None
        self._notes += noted if whole else []

    @property
    def lives(self) -> bool:
        return self._ref is not None

    @property
    def wings(self) -> Wings | None:
        return self.house.wings[self.persistence_id] if self.house is not None else None

    def act(self, operation: AnyActorOperation, number: int) -> None:
        """Do as a step says, whatever comes of it later."""
        match operation:
            case Tell():
                self._tell(operation, number)
            case StopActor():
                if self.house is not None and self._ref is not None:
                    self._in_background(self.house.system.stop(self._ref))
            case Disturb():
                self._troubles.append(operation)
            case Release():
                if self.wings is not None:
                    self.wings.release()

    def begin(self, start: StartActor, runtime: ActorRuntime, house: House, storage: Storage) -> None:
        """Live in a house, which may be the same as before."""
        self.start = start
        if self.house is not house:
            self.house = house
            house.wings[self.persistence_id] = Wings(storage, self._troubles)
        part = _part(runtime, start)
        self._ref = house.spawn(lambda: part(self), self.note)
        self._in_background(self._until_stopped(house.system, self._ref))

    def _new_writer_uuid(self) -> str:
        self._incarnations += 1
        return f"{self.persistence_id}#{self._incarnations}"

    async def _until_stopped(self, system: ActorSystem, ref: ActorRef) -> None:
        await system.stopped(ref)
        if self._ref is ref:
            self._ref = None
            self.recovered(whole=False)
            self.note("stopped")

    def _tell(self, operation: Tell, number: int) -> None:
        if self._ref is None:
            return
        for place, acts in enumerate(operation.commands):
            sender = _Teller(f"teller/{number}.{place}", self)
            self._ref.tell(Said(acts, (number, place), sender), sender)

    def vanish(self) -> None:
        """It is no more, and neither is what it has left behind: nobody hears of what still ends."""
        if self.wings is not None:
            self.wings.sever()
        for task in self._background:
            task.cancel()
        self._ref = self.house = self._of_recovery = None
        self._notes = []

    def noted(self) -> list[str]:
        """What was noted since it was asked last."""
        notes, self._notes = self._notes, []
        if self.wings is not None and self.wings.writes_at_once:
            self.wings.writes_at_once = False
            notes.append("two writes at once")
        return notes

    def _in_background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _part(runtime: ActorRuntime, start: StartActor) -> Any:
    if start.machine:
        return machine_of(runtime)
    return queue_of(runtime) if start.queue else part_of(runtime, start)


class Troupe:
    """The players of one program, and the houses in which they live."""

    def __init__(self, runtime: ActorRuntime | None) -> None:
        self._runtime = runtime or ActorRuntime()
        self._players: dict[str, Player] = {}

    def __bool__(self) -> bool:
        return bool(self._players)

    async def play(self, step: Step, number: int, storage: Storage) -> Notes:
        """Do as a step says, and return what was noted until everything rests."""
        operation = cast("AnyActorOperation", step.operation)
        if isinstance(operation, Wait):
            return await self._wait()
        owner = operation.persistence_id
        if owner not in self._players:
            self._players[owner] = Player(owner)
        player = self._players[owner]
        match operation:
            case StartActor():
                await self._begin(player, operation, storage)
            case Crash():
                await self._crash(player)
            case _:
                player.act(operation, number)
        await self._settle(player)
        of_others = [
            f"{quoted(other.persistence_id)}: {note}" for other in self._housemates(player) for note in other.noted()
        ]
        return Notes((*player.noted(), *of_others))

    async def _begin(self, player: Player, start: StartActor, storage: Storage) -> None:
        if player.lives:
            return
        if player.house is not None and player.start.system != start.system:
            await self._move_out(player)
        house = player.house or self._shared_house(start)
        if house is None:
            house = House(self._runtime, start)
            await house.system.__aenter__()
        player.begin(start, self._runtime, house, storage)

    def _shared_house(self, start: StartActor) -> House | None:
        if start.permits is None:
            return None
        return next(
            (one.house for one in self._players.values() if one.house and one.start.system == start.system), None
        )

    async def _move_out(self, player: Player) -> None:
        """Its system is another one from now on; the one before ends with the last who lived there."""
        house, alone = player.house, not self._housemates(player)
        player.vanish()
        if house is not None and alone:
            await house.leave()

    def _housemates(self, player: Player) -> list[Player]:
        if player.start.permits is None or player.house is None:
            return []
        return [one for one in self._players.values() if one.house is player.house and one is not player]

    async def _crash(self, player: Player) -> None:
        """Take the system away: its storage is gone, and what its actors do while they end is not heard."""
        house = player.house
        for one in (player, *self._housemates(player)):
            one.vanish()
        if house is not None:
            await house.leave()

    async def _settle(self, player: Player) -> None:
        if player.house is not None and not await player.house.settle():
            player.note(f"no rest after {CALLS_MAX} calls")

    async def _wait(self) -> Notes:
        """Long enough for each that waits for a permit to have its own limits. How often it is sent again, is open."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, LeapingLoop)
        for _ in range(LEAPS * self._tenants_max()):
            loop.leap(LEAP_S)
            for player in self._players.values():
                await self._settle(player)
        return Notes(tuple([note for player in self._players.values() for note in _once_sent(player.noted())]))

    def _tenants_max(self) -> int:
        return max((1 + len(self._housemates(player)) for player in self._players.values()), default=1)

    async def crash_all(self) -> None:
        """Take every actor away, before its storage is closed below it."""
        for player in self._players.values():
            await self._crash(player)


def _once_sent(noted: list[str]) -> list[str]:
    return [note for at, note in enumerate(noted) if not note.startswith("sent ") or note not in noted[:at]]
