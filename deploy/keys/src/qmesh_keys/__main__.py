"""Entry point of the job that makes keys."""

from __future__ import annotations

import sys

from qmesh_keys.application import Keys, KeysError
from qmesh_keys.cluster import ApiCluster
from qmesh_keys.settings import Settings
from qmesh_kit import logs
from qmesh_kit.settings import load


def main() -> None:
    """Makes what the release lacks, and ends."""
    settings = load(Settings)
    logs.configure("keys", level=settings.log.level)
    log = logs.get(service="keys")
    try:
        Keys(ApiCluster(settings.keys.namespace, settings.keys.labels), settings.keys).ensure()
    except KeysError as error:
        log.critical(str(error))
        sys.exit(1)
    log.info("the keys of the release are there", release=settings.keys.prefix)


if __name__ == "__main__":
    main()
