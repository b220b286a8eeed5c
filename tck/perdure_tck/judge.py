"""The sequential checker: a pure function from a program that was run to what it proves.

It walks the model along the observations. A deviation is blamed on the rule that names it: one in a single field of an
event (its time, its tags) on the rule of that field, and the walk goes on; any other on the rules of the program, and
the walk ends there, since from then on the model no longer knows what is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property

import msgspec
from perdure import Claims, EventEnvelope, Payload, PersistentRepr, SelectedSnapshot

from . import model, model_queries
from .blame import blamed, blamed_for_field
from .coverage import Exercised
from .expectations import disagreement_of
from .feed_offsets import FeedOffsets
from .history import Execution, Observation
from .model import START_OF_CLOCK, NeedsClaim, State, Transition
from .operations import QUERY_OPERATIONS, AnyOperation, Query, Reopen, SaveSnapshot, Take, Write
from .outcomes import AnyOutcome, Damaged, Events, Failed, Invalid, Loaded, NoAnswer, Taken, TakenIds
from .program import Program
from .state import PAGE_SIZE

FIELD_RULES: Mapping[str, tuple[str, ...]] = {
    "payload": ("J-23", "J-27", "J-45", "J-79"),
    "timestamp": ("J-20", "J-45", "J-79"),
    "writer_uuid": ("J-19", "J-82", "J-45", "J-79"),
    "manifest": ("J-21", "J-45", "J-79"),
    "tags": ("J-22", "J-45", "J-79"),
    "metadata": ("J-35", "J-45", "J-79"),
    "snapshot": ("S-29", "S-28", "S-30", "S-34"),
    "snapshot timestamp": ("S-14", "S-13", "S-34"),
}
"""The rules that a field may break; the first is blamed unless the program is about others of them."""

QUERY_FIELD_RULES: Mapping[str, tuple[str, ...]] = {
    "payload": ("Q-51",),
    "timestamp": ("Q-17",),
    "writer_uuid": ("Q-51",),
    "manifest": ("Q-51",),
    "tags": ("Q-18",),
    "metadata": ("Q-51",),
    "offset": ("Q-16", "Q-37"),
}
"""The same for the events that a query gives."""

SILENCE = "J-61"
"""The rule that every call of a journal is answered: blamed beside those of the program."""


class Deviation(msgspec.Struct, frozen=True):
    """One place where what was observed is not what is allowed: the step (from 1), and the rules to blame."""

    number: int
    rules: tuple[str, ...]
    observed: str
    allowed: str
    field: str = ""
    """The field that alone is wrong; "" if more is."""


class Judgement(msgspec.Struct, frozen=True):
    """What one execution proves: where it deviates, and what it exercised of what is right."""

    deviations: tuple[Deviation, ...]
    coverage: Mapping[str, int]


@cache
def unmet_claim(program: Program, claims: Claims) -> str:
    """The claim for want of which this program cannot be asked of a backend, or "".

    Either an operation needs an ability, or the outcome that the program expects is that of a backend that claims more.
    """
    try:
        wrong = _disagreement(program, claims)
    except NeedsClaim as needed:
        return needed.claim
    if not wrong:
        return ""
    for name in Claims.__struct_fields__:
        wider = msgspec.structs.replace(claims, **{name: getattr(FULL_CLAIMS, name)})
        if getattr(claims, name) != getattr(FULL_CLAIMS, name) and _gets_further(program, wider, wrong):
            return name
    return ""


def _gets_further(program: Program, claims: Claims, wrong: str) -> bool:
    """Whether a program does not stumble where it did; what it stumbles over later is the next question."""
    try:
        return _disagreement(program, claims) != wrong
    except NeedsClaim:
        return True


FULL_CLAIMS = Claims(
    survives_close=True,
    shared=True,
    kill_durable=True,
    power_durable="yes",
    detects_damage=True,
    live_queries=True,
)
"""The claims of a backend that promises everything."""

CLAIMS_OF_SWEEPS = ("kill_durable", "power_durable", "detects_damage")
"""The claims that mean nothing while nothing strikes."""


def disagreement(program: Program) -> str:
    """Where the expectations of a program and the model part ways, for a backend that claims everything; or ""."""
    return _disagreement(program, FULL_CLAIMS)


def _disagreement(program: Program, claims: Claims) -> str:
    """Backends that differ in what the model does not look at get the same answer, which is then asked for once."""
    alike: dict[str, object] = {name: getattr(FULL_CLAIMS, name) for name in CLAIMS_OF_SWEEPS}
    if not program.uses_queries:
        alike["deleted_events_in_feeds"] = FULL_CLAIMS.deleted_events_in_feeds
    return _walked(program, msgspec.structs.replace(claims, **alike))


@cache
def _walked(program: Program, claims: Claims) -> str:
    """The model's walk along a program, without a backend: where an expectation is none of what it allows."""
    if program.overlaps:
        return disagreement_of(program, claims)
    worlds = _Worlds(program, claims)
    for number, step in enumerate(program.steps, 1):
        transitions = worlds.step(number, worlds.before(number))
        outcomes = [transition.outcome for transition in transitions]
        if step.expected and not any(outcome.agrees(text) for outcome in outcomes for text in step.expected):
            allowed = " or ".join(map(str, outcomes))
            return f"step {number} '{step}': the model allows {allowed}"
        worlds.move(number, transitions[0])
    return ""


class _Worlds:
    """The model's state of each namespace that a program touches; they share one clock."""

    def __init__(self, program: Program, claims: Claims, page_size: int = PAGE_SIZE) -> None:
        self._steps = program.steps
        self._namespaces = [step.namespace for step in program.steps]
        self._claims = claims
        self._fresh = State(page_size=page_size)
        self._states: dict[str, State] = {}
        self._now = START_OF_CLOCK
        clients = {step.client for step in program.steps}
        self._needs_sharing = len(clients) > len({client.partition("@")[2] for client in clients})

    def before(self, number: int) -> State:
        stored = self._states.get(self._namespaces[number - 1], self._fresh)
        return stored if stored.now == self._now else msgspec.structs.replace(stored, now=self._now)

    def step(self, number: int, before: State, observed: AnyOutcome | None = None) -> tuple[Transition, ...]:
        if self._needs_sharing and not self._claims.shared:
            raise NeedsClaim("shared")
        return model.step(before, self._steps[number - 1].operation, number, self._claims, observed)

    def move(self, number: int, transition: Transition) -> None:
        self._states[self._namespaces[number - 1]] = transition.state
        self._now = transition.state.now
        if isinstance(self._steps[number - 1].operation, Reopen):
            self._cut_off_all()

    def _cut_off_all(self) -> None:
        """Every handle was closed, those of the other namespaces too."""
        self._states = {namespace: model_queries.cut_off(state) for namespace, state in self._states.items()}


def judge(program: Program, execution: Execution, claims: Claims, page_size: int) -> Judgement:
    """Walk the model along what was observed. The program is the one that ran, prefixes of ids included."""
    worlds = _Worlds(program, claims, page_size)
    offsets = FeedOffsets()
    exercised = Exercised(page_size)
    deviations: list[Deviation] = []
    compare = Comparison(program, claims)
    for seen in execution.observations:
        before = worlds.before(seen.number)
        transitions = worlds.step(seen.number, before, seen.outcome)
        chosen, fields = compare.nearest(transitions, seen.outcome)
        if fields is not None and isinstance(seen.outcome, Taken):
            fields = {**fields, **offsets.wrong(seen.step.namespace, chosen.outcome, seen.outcome)}
        pair = chosen.outcome, seen.outcome
        if fields is None:
            allowed = " or ".join(str(transition.outcome) for transition in transitions)
            rules = _blamed_for_all(program, seen) or (blamed(program, seen.number, before, page_size, pair),)
            deviations.append(Deviation(seen.number, rules, told(seen.outcome, allowed), allowed))
            break
        for field, (observed, allowed) in fields.items():
            told_by_scene = (
                "" if program.rules else blamed_for_field(program, seen.number, before, page_size, pair, field)
            )
            rules = (told_by_scene,) if told_by_scene else _blamed(program, seen.step.operation, field)
            if not any(known.rules == rules for known in deviations):  # once is enough: the first is the smallest
                deviations.append(Deviation(seen.number, rules, observed, allowed, field))
        exercised.add(seen.step, before, chosen.state, seen.outcome)
        worlds.move(seen.number, chosen)
    return Judgement(tuple(deviations), exercised)


class Foresight:
    """How many items a step has to wait for, told by walking the model along while a program runs.

    Without it nobody could tell a live query that is slow from one that rightly waits.
    """

    def __init__(self, program: Program, claims: Claims, page_size: int) -> None:
        self._program = program
        self._claims = claims
        self._page_size = page_size
        self._compare = Comparison(program, claims)
        self._walked = 0
        self._lost = False

    @cached_property
    def _needed(self) -> bool:
        return any(isinstance(step.operation, Query) and not step.operation.current for step in self._program.steps)

    @cached_property
    def _worlds(self) -> _Worlds:
        return _Worlds(self._program, self._claims, self._page_size)

    def due(self, observations: Sequence[Observation]) -> int:
        """Of the step behind these observations. After a deviation nothing is worth waiting for."""
        step = self._program.steps[len(observations)]
        if not isinstance(step.operation, Take):
            return 0
        if not self._needed:
            return step.operation.count
        for seen in observations[self._walked :]:
            self._walk(seen)
        return 0 if self._lost else model_queries.due(self._worlds.before(len(observations) + 1), step.operation)

    def _walk(self, seen: Observation) -> None:
        self._walked = seen.number
        if not self._lost:
            before = self._worlds.before(seen.number)
            chosen, fields = self._compare.nearest(self._worlds.step(seen.number, before, seen.outcome), seen.outcome)
            self._worlds.move(seen.number, chosen)
            self._lost = fields is None


def _blamed_for_all(program: Program, seen: Observation) -> tuple[str, ...]:
    of_a_journal = program.uses_journal and not isinstance(seen.step.operation, QUERY_OPERATIONS)
    silent = isinstance(seen.outcome, NoAnswer) and of_a_journal and SILENCE not in program.rules
    return (*program.rules, SILENCE) if silent and program.rules else program.rules


def _weight(fields: Mapping[str, tuple[str, str]] | None) -> int:
    return 1_000 if fields is None else len(fields)


def _blamed(program: Program, operation: AnyOperation, field: str) -> tuple[str, ...]:
    about = (QUERY_FIELD_RULES if isinstance(operation, Take) else FIELD_RULES)[field]
    return tuple(rule for rule in about if rule in program.rules) or about[:1]


def told(observed: AnyOutcome, allowed: str) -> str:
    """The observed outcome in words, with the reason of an error that nobody expected."""
    if isinstance(observed, Invalid | Failed | Damaged | Taken | TakenIds) and observed.reason:
        return f"{observed}: {observed.reason}"
    return str(observed) if str(observed) != allowed else f"{observed}, but of another write"


class Comparison:
    """Compares an allowed outcome with an observed one, field by field where both show the same events."""

    def __init__(self, program: Program, claims: Claims) -> None:
        self._excused = {name for name in ("writer_uuid", "tags", "metadata") if not getattr(claims, name)}
        if not claims.event_manifest:
            self._excused.add("manifest")
        self._program = program

    @cached_property
    def _payloads(self) -> frozenset[bytes]:
        """Everything that the program writes: asked for only where something is wrong."""
        steps = enumerate(self._program.steps, 1)
        return frozenset(data for number, step in steps for data in _payloads_of(step.operation, number))

    def fields(self, allowed: AnyOutcome, observed: AnyOutcome) -> Mapping[str, tuple[str, str]] | None:
        """What was observed and what is allowed, for each field that differs; None if more than fields differ."""
        if allowed == observed:
            return {}
        match allowed, observed:
            case Events(), Events():
                return self._events(allowed.events, observed.events)
            case Taken(), Taken():
                return self._taken(allowed, observed)
            case Loaded(selected=SelectedSnapshot() as right), Loaded(selected=SelectedSnapshot() as wrong):
                return self._snapshots(right, wrong)
            case _:
                return {} if allowed.same_as(observed) else None

    def nearest(
        self, transitions: Sequence[Transition], observed: AnyOutcome
    ) -> tuple[Transition, Mapping[str, tuple[str, str]] | None]:
        """The transition whose outcome is most like the observed one, and how the two differ."""
        if len(transitions) == 1:
            return transitions[0], self.fields(transitions[0].outcome, observed)
        differences = [self.fields(one.outcome, observed) for one in transitions]
        best = min(range(len(transitions)), key=lambda at: _weight(differences[at]))
        return transitions[best], differences[best]

    def _taken(self, allowed: Taken, observed: Taken) -> Mapping[str, tuple[str, str]] | None:
        if allowed.ended != observed.ended:
            return None
        return self._events(_events_of(allowed.envelopes), _events_of(observed.envelopes))

    def _events(
        self, allowed: tuple[PersistentRepr, ...], observed: tuple[PersistentRepr, ...]
    ) -> Mapping[str, tuple[str, str]] | None:
        if [_key(event) for event in allowed] != [_key(event) for event in observed]:
            return None
        found: dict[str, tuple[str, str]] = {}
        for right, wrong in zip(allowed, observed, strict=True):
            if self._of_another_write(right.payload.data, wrong.payload.data):
                return None
            for field in ("payload", "timestamp", "writer_uuid", "manifest", "tags", "metadata"):
                if field not in self._excused and getattr(right, field) != getattr(wrong, field):
                    about = f"{right.sequence_nr} with {field}"
                    pair = _shown(getattr(wrong, field)), _shown(getattr(right, field))
                    found.setdefault(field, (f"{about} {pair[0]}", f"{about} {pair[1]}"))
        return found

    def _snapshots(self, allowed: SelectedSnapshot, observed: SelectedSnapshot) -> Mapping[str, tuple[str, str]] | None:
        right, wrong = allowed.metadata, observed.metadata
        if (right.persistence_id, right.sequence_nr) != (wrong.persistence_id, wrong.sequence_nr):
            return None
        if self._of_another_write(allowed.snapshot.data, observed.snapshot.data):
            return None
        found: dict[str, tuple[str, str]] = {}
        if right.timestamp != wrong.timestamp:
            found["snapshot timestamp"] = (f"time {wrong.timestamp}", f"time {right.timestamp}")
        if allowed.snapshot != observed.snapshot:
            found["snapshot"] = (_shown(observed.snapshot), _shown(allowed.snapshot))
        return found

    def _of_another_write(self, right: bytes, wrong: bytes) -> bool:
        return right != wrong and bool(wrong) and wrong in self._payloads


def _events_of(envelopes: Iterable[EventEnvelope]) -> tuple[PersistentRepr, ...]:
    return tuple(envelope.event for envelope in envelopes)


def _payloads_of(operation: AnyOperation, number: int) -> Iterable[bytes]:
    match operation:
        case Write(batches=batches):
            return [event.payload.data for batch in batches for event in batch.atomic_write(number).events]
        case SaveSnapshot() as save:
            return [save.payload(number).data]
        case _:
            return ()


def _key(event: PersistentRepr) -> tuple[str, int]:
    return event.persistence_id, event.sequence_nr


def _shown(value: object) -> str:
    """A field's value, short enough for a line."""
    if isinstance(value, frozenset):
        return "+".join(sorted(map(repr, value))) or "empty"
    if isinstance(value, Payload):
        head = f"{value.data[:24]!r}{'…' if len(value.data) > 24 else ''}"
        return f"{head} ({len(value.data)} bytes, serializer {value.serializer_id}, manifest {value.manifest!r})"
    return repr(value)
