"""The tables of one namespace, which is one schema of the database, and the functions that change them.

**A write is one statement**, a call of `append`, so no transaction of ours ever waits for a client: one that is slow,
stopped or gone holds nothing up. Reading takes place outside.

**How a reader knows what it must have seen** (Q-08). Orderings come from a sequence, so a transaction that took a lower
one may commit after one that took a higher one. Therefore a writer announces itself before it takes any: it holds a
shared advisory lock of which the key is the number that the sequence had reached by then. Its orderings lie above
that, and the lock ends after the commit is visible. `horizon` reads first the sequence and then those locks: a writer
that it does not see has either ended, or will take orderings above what the sequence had reached. So everything up to
the lowest number announced is there, and nothing else need be waited for. A transaction that is held open elsewhere,
which freezes a reader that goes by `pg_snapshot_xmin`, has no such lock and disturbs nobody; and commits are not
serialised, as a lock around the sequence would.

**How two writers of one id meet** (J-16). Usually a write goes on at the highest number plus one. Two such writes
collide in the unique index, and one of them fails. A write that leaves a gap could be overtaken by one into the gap, so
it is done by `append_above_gap`, which keeps every other writer out for as long as it takes; gaps are rare.

Names and `{namespace}` are put in as quoted identifiers; all values are parameters.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
CONFLICT: Final = "PD001"
"""SQLSTATE: a number is at or below the highest one."""
GAP: Final = "PD002"
"""SQLSTATE: a write would leave a gap, and was asked of `append`."""
TAKEN: Final = "event_of_id"
"""The constraint that another writer's event with the same number violates."""

TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS {namespace};

CREATE SEQUENCE {namespace}.ordering;

CREATE TABLE {namespace}.event (
    ordering bigint PRIMARY KEY,
    persistence_id text COLLATE "C" NOT NULL,
    sequence_nr bigint NOT NULL,
    timestamp bigint NOT NULL,                   -- nanoseconds since the Unix epoch
    serializer_id bigint NOT NULL,
    payload_manifest text COLLATE "C" NOT NULL,  -- the serializer's
    manifest text COLLATE "C" NOT NULL,          -- the event adapter's
    writer_uuid text COLLATE "C" NOT NULL,
    tag_count integer NOT NULL,                  -- rows in event_tag
    metadata bytea,                              -- msgpack [serializer id, manifest, bytes]
    payload bytea NOT NULL,
    CONSTRAINT event_of_id UNIQUE (persistence_id, sequence_nr)
);

CREATE TABLE {namespace}.event_tag (
    ordering bigint NOT NULL,
    tag text COLLATE "C" NOT NULL,
    PRIMARY KEY (ordering, tag)
);

-- of a digest, since an entry of an index cannot be longer than a third of a page
CREATE INDEX event_tag_by_tag ON {namespace}.event_tag (md5(tag), ordering);

CREATE TABLE {namespace}.emptied (
    persistence_id text COLLATE "C" PRIMARY KEY,
    sequence_nr bigint NOT NULL,                 -- the highest that was deleted
    ordering bigint NOT NULL                     -- the highest of what was deleted
);
CREATE INDEX emptied_by_ordering ON {namespace}.emptied (ordering);

CREATE TABLE {namespace}.snapshot (
    persistence_id text COLLATE "C" NOT NULL,
    sequence_nr bigint NOT NULL,
    timestamp bigint NOT NULL,                   -- nanoseconds since the Unix epoch
    serializer_id bigint NOT NULL,
    manifest text COLLATE "C" NOT NULL,          -- the serializer's
    payload bytea NOT NULL,
    PRIMARY KEY (persistence_id, sequence_nr)
);
"""

READING: Final = """
-- what the sequence has reached; 0 before its first number
CREATE FUNCTION {namespace}.reached() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {namespace}.ordering
$$;

-- the first key of our advisory locks: no other table has it
CREATE FUNCTION {namespace}.lock_class() RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT ({literal}::regclass::oid::bigint)::bit(32)::integer
$$;

-- how far below `upper` the writers that are under way have announced themselves; the keys are the low 32 bits
CREATE FUNCTION {namespace}.announced(upper bigint) RETURNS TABLE (behind bigint) LANGUAGE sql VOLATILE AS $$
    SELECT (upper - objid::bigint) & 4294967295
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 2 AND mode = 'ShareLock'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid = {literal}::regclass::oid
        AND ((upper - objid::bigint) & 4294967295) < 2147483648
$$;

-- every event up to here is visible to whoever looks from now on
CREATE FUNCTION {namespace}.horizon() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    upper bigint := {namespace}.reached();
BEGIN
    RETURN upper - coalesce((SELECT max(behind) FROM {namespace}.announced(upper)), 0);
END $$;

-- the same, but waits for the writers that are under way: what was acknowledged before is not above it
CREATE FUNCTION {namespace}.settled() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    upper bigint := {namespace}.reached();
    kind integer := {namespace}.lock_class();
    one bigint;
BEGIN
    FOR one IN SELECT DISTINCT behind FROM {namespace}.announced(upper) LOOP
        PERFORM pg_advisory_lock(kind, (upper - one)::bit(32)::integer);
        PERFORM pg_advisory_unlock(kind, (upper - one)::bit(32)::integer);
    END LOOP;
    RETURN upper;
END $$;

CREATE FUNCTION {namespace}.stored_highest(id text) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT {highest_of_id}
$$;

CREATE FUNCTION {namespace}.highest(id text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM {namespace}.settled();
    RETURN {namespace}.stored_highest(id);
END $$;
"""

HIGHEST_OF_ID: Final = """greatest(
        coalesce((SELECT max(its.sequence_nr) FROM {namespace}.event AS its WHERE its.persistence_id = id), 0),
        coalesce((SELECT its.sequence_nr FROM {namespace}.emptied AS its WHERE its.persistence_id = id), 0))"""
"""The highest number ever stored under `id`. In place and no function: that costs more than all the rest of a write."""

APPEND: Final = """
CREATE FUNCTION {namespace}.{name}(
    first_ids text[], first_numbers bigint[],    -- each id of the call once, with its lowest number
    ids text[], numbers bigint[], timestamps bigint[], serializer_ids bigint[], payload_manifests text[],
    manifests text[], writer_uuids text[], tag_counts integer[], metadata bytea[], payloads bytea[],
    tag_ids text[], tag_numbers bigint[], tags text[]
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    wrong record;
BEGIN
    LOCK TABLE {namespace}.event IN {lock} MODE;
    SELECT id, first, highest INTO wrong
    FROM unnest(first_ids, first_numbers) AS asked (id, first)
    CROSS JOIN LATERAL (SELECT {highest_of_id} AS highest OFFSET 0) AS found
    WHERE highest {refused}
    ORDER BY highest < first LIMIT 1;
    IF FOUND AND wrong.highest < wrong.first THEN
        RAISE EXCEPTION 'a gap' USING ERRCODE = '{gap}';
    ELSIF FOUND THEN
        RAISE EXCEPTION '%', wrong.highest USING ERRCODE = '{conflict}', DETAIL = wrong.id;
    END IF;
    PERFORM pg_advisory_xact_lock_shared({namespace}.lock_class(), {namespace}.reached()::bit(32)::integer);
    INSERT INTO {namespace}.event
    SELECT nextval({sequence}), asked.* FROM unnest(
        ids, numbers, timestamps, serializer_ids, payload_manifests, manifests, writer_uuids, tag_counts, metadata,
        payloads) AS asked;
    IF cardinality(tags) > 0 THEN
        INSERT INTO {namespace}.event_tag
        SELECT ordering, tag FROM unnest(tag_ids, tag_numbers, tags) AS asked (id, number, tag)
        JOIN {namespace}.event ON persistence_id = id AND sequence_nr = number;
    END IF;
END $$;
"""

ERASE: Final = """
CREATE FUNCTION {namespace}.erase(id text, upto bigint) RETURNS void LANGUAGE sql VOLATILE AS $$
    WITH gone AS (
        DELETE FROM {namespace}.event WHERE persistence_id = id AND sequence_nr <= upto
        RETURNING ordering, sequence_nr, tag_count
    ), untagged AS (
        DELETE FROM {namespace}.event_tag USING gone WHERE event_tag.ordering = gone.ordering AND tag_count > 0
    )
    INSERT INTO {namespace}.emptied
    SELECT id, max(sequence_nr), max(ordering) FROM gone HAVING count(*) > 0
    ON CONFLICT (persistence_id) DO UPDATE SET
        sequence_nr = greatest(emptied.sequence_nr, excluded.sequence_nr),
        ordering = greatest(emptied.ordering, excluded.ordering)
$$;

COMMENT ON SCHEMA {namespace} IS 'perdure {version}';
"""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def statements(namespace: str) -> str:
    """What lays out an empty schema."""
    schema = quoted(namespace)

    def filled(template: str, **more: str) -> str:
        template = template.replace("{highest_of_id}", HIGHEST_OF_ID)
        more |= {"namespace": schema, "literal": literal(f"{schema}.event"), "version": str(VERSION)}
        for name, value in more.items():
            template = template.replace(f"{{{name}}}", value)
        return template

    names = {"gap": GAP, "conflict": CONFLICT, "sequence": literal(f"{schema}.ordering")}
    append = filled(APPEND, name="append", lock="ROW EXCLUSIVE", refused="<> first - 1", **names)
    above = filled(APPEND, name="append_above_gap", lock="SHARE ROW EXCLUSIVE", refused=">= first", **names)
    return filled(TABLES) + filled(READING) + append + above + filled(ERASE)
