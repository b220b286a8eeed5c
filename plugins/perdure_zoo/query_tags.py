"""Animals that find the wrong events by their tags, or give events that are not as they were stored."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import AsyncIterator

from msgspec.structs import replace
from perdure import NO_OFFSET, EventEnvelope, Offset, Payload, PersistentRepr

from ._query_ward import QueryFamily, WardQueries

family = QueryFamily()
LIKE = "https://github.com/akka/akka-persistence-jdbc/issues/82"
MANUAL = "https://github.com/akkadotnet/akka.net/blob/dev/docs/articles/persistence/persistence-query.md"
SQL = "https://github.com/akkadotnet/Akka.Persistence.Sql/blob/dev/src/Akka.Persistence.Sql/Query/SqlReadJournal.cs"


@family.animal(
    bug="BUG-119",
    system="akka-persistence-jdbc",
    source=LIKE,
    cause="LIKE '%tag%': a tag is found within other tags",
    killed_by="Q-22",
)
class TagIsFoundWithinOthers(WardQueries):
    """Orders and reorders are one projection."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return any(tag in one for one in event.tags)


@family.animal(
    bug="BUG-119b",
    system="none reported: LIKE without wildcards of its own",
    source=LIKE,
    cause="% and _ of a tag are taken for wildcards",
    killed_by="Q-22",
)
class TagIsAPattern(WardQueries):
    """The statement is parameterised, and so it was thought to be safe."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        pattern = re.escape(tag).replace("%", ".*").replace("_", ".")
        return any(re.fullmatch(pattern, one, re.DOTALL) for one in event.tags)


@family.animal(
    bug="BUG-119c",
    system="none reported: LIKE of SQLite, and the default collations of MySQL and SQL Server",
    source=LIKE,
    cause="tags are compared without regard to case",
    killed_by="Q-22",
)
class TagsIgnoreCase(WardQueries):
    """Tags are lower case in every example."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return tag.casefold() in {one.casefold() for one in event.tags}


@family.animal(
    bug="BUG-119d",
    system="none reported: comparison of padded strings, as SQL has it",
    source=LIKE,
    cause="blanks at either end of a tag are cut off",
    killed_by="Q-22",
)
class TagsAreTrimmed(WardQueries):
    """It was meant well."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return tag.strip(" ") in {one.strip(" ") for one in event.tags}


@family.animal(
    bug="BUG-119e",
    system="none reported: collations that compare letters by their look",
    source=LIKE,
    cause="tags are compared by their normal form",
    killed_by="Q-22",
)
class TagsAreNormalised(WardQueries):
    """Two spellings of one letter, from two keyboards."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return unicodedata.normalize("NFC", tag) in {unicodedata.normalize("NFC", one) for one in event.tags}


@family.animal(
    bug="BUG-119f",
    system="none reported: strings of C",
    source=LIKE,
    cause="a tag ends at its first NUL character",
    killed_by="Q-22",
)
class TagsEndAtANul(WardQueries):
    """Keys made of two parts are one of them."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return tag.partition("\0")[0] in {one.partition("\0")[0] for one in event.tags}


@family.animal(
    bug="BUG-120b",
    system="Akka.Persistence.Sql (CSV tags)",
    source="https://github.com/akkadotnet/Akka.Persistence.Sql/pull/115",
    cause="tags are a list in one column, split at semicolons that a tag may hold",
    killed_by="Q-22",
)
class TagsAreSplit(WardQueries):
    """The event is found by parts of its tag, and by the tag no more."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return tag in ";".join(sorted(event.tags)).split(";") if event.tags else False


@family.animal(
    bug="SEEN-61",
    system="none reported: an empty string, read as no filter",
    source=MANUAL,
    cause="the empty tag finds everything",
    killed_by="Q-22",
)
class EmptyTagFindsEverything(WardQueries):
    """A setting was left out, and the projection took all events."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return not tag or tag in event.tags


@family.animal(
    bug="BUG-111b",
    system="Akka.Persistence.MongoDB (in its queries)",
    source="https://github.com/akkadotnet/akka.net/issues/8438",
    cause="an event is indexed by the first of its tags",
    killed_by="Q-21",
)
class FirstTagIsIndexed(WardQueries):
    """Green apples are green, and no apples."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return bool(event.tags) and tag == max(event.tags)


@family.animal(
    bug="SEEN-62",
    system="akka-persistence-cassandra (three columns of tags at first)",
    source="https://github.com/akka/akka-persistence-cassandra",
    cause="there are columns for three tags, and others are not indexed",
    killed_by="Q-21",
)
class ThreeTagsAreIndexed(WardQueries):
    """A limit that nobody was told of."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        return tag in sorted(event.tags)[:3]


@family.animal(
    bug="SEEN-63",
    system="none reported: a lookup table of tags",
    source=MANUAL,
    cause="a tag that no event has is an error",
    killed_by="Q-21",
)
class UnknownTagIsAnError(WardQueries):
    """A new projection cannot be started before its first event."""

    def current_events_by_tag(self, tag: str, offset: Offset = NO_OFFSET) -> AsyncIterator[EventEnvelope]:
        if not any(tag in row.event.tags for row in self.shelf.feed):
            raise LookupError(f"no tag {tag!r}")
        return super().current_events_by_tag(tag, offset)


@family.animal(
    bug="SEEN-64",
    system="none reported: tags that are inserted with the first row of a write",
    source=MANUAL,
    cause="of an AtomicWrite of several events the first one only is found by its tags",
    killed_by="Q-26",
)
class TagsOfTheFirstEventOnly(WardQueries):
    """Half of what a command decided is in the projection."""

    def has_tag(self, event: PersistentRepr, tag: str) -> bool:
        first = self.ward.batches[event.persistence_id, event.sequence_nr][0]
        return first.sequence_nr == event.sequence_nr and tag in event.tags


@family.animal(
    bug="BUG-111c",
    system="Akka.Persistence.MongoDB",
    source="https://github.com/akkadotnet/akka.net/issues/8438",
    cause="an event has the tag only that was asked for",
    killed_by="Q-18",
)
class OnlyTheQueriedTagComesBack(WardQueries):
    """The kit of Akka.NET asks whether the tag is among them."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        return replace(row, event=replace(row.event, tags=frozenset([tag]))) if subject == "events by tag" else row


@family.animal(
    bug="SEEN-65",
    system="Akka.NET's journal in memory",
    source="https://github.com/akkadotnet/akka.net/tree/dev/src/core/Akka.Persistence.Query.InMemory",
    cause="events have tags in queries by tag, and none in the others",
    killed_by="Q-18",
)
class TagsComeBackByTagOnly(WardQueries):
    """A rebuild from all events tags nothing."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        return row if subject == "events by tag" else replace(row, event=replace(row.event, tags=frozenset()))


@family.animal(
    bug="SEEN-66",
    system="none reported: the test of Akka.NET asks for a time above 0",
    source=MANUAL,
    cause="an event has the time at which it was read",
    killed_by="Q-17",
)
class TimeIsThatOfReading(WardQueries):
    """Everything happened today, as often as one looks."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        return replace(row, event=replace(row.event, timestamp=self.clock()))


@family.animal(
    bug="SEEN-67",
    system="none reported: milliseconds in an index, ticks in the journal",
    source=MANUAL,
    cause="by tag times are cut to milliseconds",
    killed_by="Q-17",
)
class TimesByTagInMilliseconds(WardQueries):
    """The same event happened twice, by less than a millisecond."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        if subject != "events by tag":
            return row
        return replace(row, event=replace(row.event, timestamp=row.event.timestamp // 1_000_000 * 1_000_000))


@family.animal(
    bug="BUG-123",
    system="Polecat",
    source="https://github.com/JasperFx/polecat/issues/392",
    cause="by tag the id of an event is blank",
    killed_by="Q-21 Q-51",
)
class EventsByTagHaveNoId(WardQueries):
    """The column is selected, and mapped to nothing."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        return replace(row, event=replace(row.event, persistence_id="")) if subject == "events by tag" else row


@family.animal(
    bug="BUG-112",
    system="Akka.Persistence.MongoDB",
    source="https://github.com/akkadotnet/Akka.Persistence.MongoDB/issues/61",
    cause="by tag the serializer is not asked, and the payload is raw bytes",
    killed_by="Q-51",
)
class RawBytesByTag(WardQueries):
    """A handler that matches on types drops all of them."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        raw = Payload(4, "", row.event.payload.data)
        return replace(row, event=replace(row.event, payload=raw)) if subject == "events by tag" else row


@family.animal(
    bug="BUG-113",
    system="Akka, Akka.NET",
    source="https://github.com/akka/akka-core/pull/28553",
    cause="what carries the tags is given in place of the payload",
    killed_by="Q-51",
)
class WrapperComesBack(WardQueries):
    """Tagged(event), where the event is meant."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        if not row.event.tags:
            return row
        payload = replace(row.event.payload, data=b"Tagged(" + row.event.payload.data + b")")
        return replace(row, event=replace(row.event, payload=payload))


@family.animal(
    bug="SEEN-68",
    system="none reported: a second list of columns",
    source=SQL,
    cause="the read side does not know of metadata",
    killed_by="Q-51",
)
class FeedsHaveNoMetadata(WardQueries):
    """Who did it is in the journal, and in no read model."""

    def shown(self, row: EventEnvelope, subject: str, tag: str) -> EventEnvelope:
        return replace(row, event=replace(row.event, metadata=None))
