"""``python -m qmesh_kit.sql SERVICE``: brings the schema of a service to this code's revision, or leaves a newer one alone."""

from __future__ import annotations

import sys
import time

import psycopg

from qmesh_kit import logs
from qmesh_kit.settings import BaseMeshSettings, PostgresSection, load
from qmesh_kit.sql.migrate import MigrationError, bring, head_of, locate

log = logs.get(service="migrations")

_PAUSE = 2.0
_USAGE = 64


class Settings(BaseMeshSettings):
    """What a migration reads from its environment."""

    postgres: PostgresSection


def run(service: str, settings: Settings) -> int:
    """Waits for the database for as long as `patience`; the exit code."""
    location = locate(service)
    deadline = time.monotonic() + settings.patience
    while True:
        try:
            found = bring(settings.postgres, service, location)
        except psycopg.OperationalError as error:
            why = str(error).strip().splitlines()[-1]
            if time.monotonic() > deadline:
                log.critical("the database cannot be used", error=why)
                return 1
            log.warning("waiting for the database", error=why)
            time.sleep(_PAUSE)
            continue
        head = head_of(location)
        if found > head:
            log.warning(
                "the schema is newer than this code and stays", schema=service, revision=found, known=head
            )
        else:
            log.info("the schema is up to date", schema=service, revision=found)
        return 0


def main() -> None:
    """Entry point."""
    if len(sys.argv) != 2:  # noqa: PLR2004 - the service
        sys.stderr.write("usage: python -m qmesh_kit.sql SERVICE\n")
        sys.exit(_USAGE)
    settings = load(Settings)
    logs.configure("migrations", level=settings.log.level)
    try:
        sys.exit(run(sys.argv[1], settings))
    except MigrationError as error:
        log.critical(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
