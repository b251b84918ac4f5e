"""The schema, as numbered steps that are only ever added to. Their SQL is that of SQLite and PostgreSQL alike."""

__all__ = ["MIGRATIONS"]

_FIRST = (
    """CREATE TABLE "nodes" (
        "name" TEXT PRIMARY KEY, "token_sha256" TEXT NOT NULL, "public_key" TEXT NOT NULL,
        "enrolled_at_s" DOUBLE PRECISION NOT NULL, "claim" TEXT NOT NULL, "group" TEXT NOT NULL,
        "labels" TEXT NOT NULL, "deployment" BIGINT NOT NULL, "assigned" TEXT NOT NULL, "gates" TEXT NOT NULL,
        "windows" TEXT NOT NULL, "bytes_per_s_max" BIGINT, "is_frozen" BOOLEAN NOT NULL)""",
    """CREATE TABLE "sightings" (
        "node" TEXT PRIMARY KEY, "seen_at_s" DOUBLE PRECISION NOT NULL, "checkin" TEXT NOT NULL)""",
    """CREATE TABLE "groups" (
        "name" TEXT PRIMARY KEY, "match" TEXT NOT NULL, "assigned" TEXT NOT NULL, "gates" TEXT NOT NULL,
        "windows" TEXT NOT NULL, "bytes_per_s_max" BIGINT, "is_frozen" BOOLEAN NOT NULL)""",
    """CREATE TABLE "claims" (
        "id" TEXT PRIMARY KEY, "sha256" TEXT NOT NULL, "made_at_s" DOUBLE PRECISION NOT NULL,
        "made_by" TEXT NOT NULL, "expires_at_s" DOUBLE PRECISION NOT NULL, "uses_left" BIGINT NOT NULL,
        "used" BIGINT NOT NULL, "group" TEXT NOT NULL, "labels" TEXT NOT NULL)""",
    """CREATE TABLE "artifacts" (
        "target" TEXT PRIMARY KEY, "kind" TEXT NOT NULL, "name" TEXT NOT NULL, "version" BIGINT NOT NULL,
        "length" BIGINT NOT NULL, "sha256" TEXT NOT NULL, "state" TEXT NOT NULL,
        "at_s" DOUBLE PRECISION NOT NULL, "by" TEXT NOT NULL, "custom" TEXT NOT NULL, "signatures" TEXT NOT NULL,
        "wanted" BIGINT NOT NULL)""",
    """CREATE TABLE "rollouts" (
        "id" TEXT PRIMARY KEY, "number" BIGINT NOT NULL, "plan" TEXT NOT NULL, "state" TEXT NOT NULL,
        "began_at_s" DOUBLE PRECISION NOT NULL, "by" TEXT NOT NULL, "ring" BIGINT NOT NULL,
        "ring_began_at_s" DOUBLE PRECISION NOT NULL, "soaks_from_s" DOUBLE PRECISION,
        "ended_at_s" DOUBLE PRECISION, "why" TEXT NOT NULL, "group_before" TEXT NOT NULL)""",
    """CREATE TABLE "members" (
        "rollout" TEXT NOT NULL, "node" TEXT NOT NULL, "ring" BIGINT NOT NULL, "before" TEXT NOT NULL,
        "state" TEXT NOT NULL, "deployment" BIGINT NOT NULL, "told_at_s" DOUBLE PRECISION NOT NULL,
        "ended_at_s" DOUBLE PRECISION NOT NULL, "problem" TEXT NOT NULL, "gate" TEXT NOT NULL,
        PRIMARY KEY ("rollout", "node"))""",
    """CREATE TABLE "events" (
        "number" BIGINT PRIMARY KEY, "at_s" DOUBLE PRECISION NOT NULL, "kind" TEXT NOT NULL, "on" TEXT NOT NULL,
        "detail" TEXT NOT NULL)""",
    """CREATE TABLE "asks" (
        "id" TEXT PRIMARY KEY, "number" BIGINT NOT NULL, "node" TEXT NOT NULL, "kind" TEXT NOT NULL,
        "at_s" DOUBLE PRECISION NOT NULL, "by" TEXT NOT NULL, "lines" BIGINT NOT NULL, "state" TEXT NOT NULL,
        "answered_at_s" DOUBLE PRECISION NOT NULL, "problem" TEXT NOT NULL, "answer" TEXT NOT NULL)""",
    """CREATE INDEX "asks_by_node" ON "asks" ("node")""",
    """CREATE TABLE "reports" (
        "node" TEXT PRIMARY KEY, "at_s" DOUBLE PRECISION NOT NULL, "metrics" TEXT NOT NULL, "dropped" TEXT NOT NULL)""",
)

_SECOND = ("""ALTER TABLE "groups" ADD COLUMN "total_bytes_per_s_max" BIGINT""",)

_THIRD = (
    """CREATE TABLE "moves" (
        "id" TEXT PRIMARY KEY, "state" TEXT NOT NULL, "other" TEXT NOT NULL, "at_s" DOUBLE PRECISION NOT NULL)""",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST, _SECOND, _THIRD)
"""Step n leads from schema n to n + 1, in one transaction."""
