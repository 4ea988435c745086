"""Statements for migrations: grants, append-only tables, legal edges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qmesh_kit.sql.pool import writer_role


def mutable(service: str, table: str) -> list[str]:
    """The service may read, insert, update and delete rows."""
    return [f"GRANT SELECT, INSERT, UPDATE, DELETE ON {service}.{table} TO {writer_role(service)}"]


def append_only(service: str, table: str) -> list[str]:
    """The service may read and insert; nobody may change, not even by a trigger that is off for replicas."""
    name = f"{service}.{table}"
    return [
        f"GRANT SELECT, INSERT ON {name} TO {writer_role(service)}",
        f"""CREATE OR REPLACE FUNCTION {service}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = '42501'; END $$""",
        f"""CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {name}
            FOR EACH ROW EXECUTE FUNCTION {service}.refuse_change()""",
        f"""CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {name}
            FOR EACH STATEMENT EXECUTE FUNCTION {service}.refuse_change()""",
        f"ALTER TABLE {name} ENABLE ALWAYS TRIGGER {table}_append_only",
        f"ALTER TABLE {name} ENABLE ALWAYS TRIGGER {table}_no_truncate",
    ]


def reachable(edges: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """States that can be reached by any number of edges."""
    closure = {state: set(after) for state, after in edges.items()}
    changed = True
    while changed:
        changed = False
        for after in closure.values():
            more = set().union(*(closure[state] for state in after)) - after if after else set()
            if more:
                after.update(more)
                changed = True
    return closure


def transitions(service: str, table: str, column: str, edges: Mapping[str, Iterable[str]]) -> list[str]:
    """The database refuses an update of a state column that no path of legal edges explains.

    Several steps of one row may arrive as one update (group commit), hence paths; the history has each edge.
    """
    pairs = ", ".join(
        f"('{before}', '{after}')"
        for before, states in sorted(reachable(edges).items())
        for after in sorted(states)
    )
    function = f"{service}.{table}_{column}_edges"
    return [
        f"""CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF OLD.{column} <> NEW.{column} AND (OLD.{column}, NEW.{column}) NOT IN ({pairs}) THEN
                    RAISE EXCEPTION 'illegal transition of {service}.{table} from % to %', OLD.{column}, NEW.{column}
                        USING ERRCODE = '23514';
                END IF;
                RETURN NEW;
            END $$""",
        f"""CREATE TRIGGER {table}_{column}_edges BEFORE UPDATE OF {column} ON {service}.{table}
            FOR EACH ROW EXECUTE FUNCTION {function}()""",
        f"ALTER TABLE {service}.{table} ENABLE ALWAYS TRIGGER {table}_{column}_edges",
    ]
