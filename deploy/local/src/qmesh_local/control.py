"""Client of the supervisor's control socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from qmesh_local.layout import Layout


class NotRunningError(Exception):
    """No supervisor answers for this home."""


def ask(layout: Layout, verb: str, process: str = "", timeout_seconds: float = 75.0) -> dict[str, Any]:
    """Sends one command and reads its answer.

    Raises:
        NotRunningError: nobody listens, or nobody answers.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(str(layout.control_socket))
            connection.sendall(json.dumps({"verb": verb, "process": process}).encode() + b"\n")
            with connection.makefile("rb") as answers:
                line = answers.readline()
    except (FileNotFoundError, ConnectionError):
        raise NotRunningError(f"no mesh runs in {layout.home}; start one with 'qmesh up'") from None
    except TimeoutError:
        raise NotRunningError(
            f"the supervisor in {layout.home} did not answer within {timeout_seconds:g} s; see 'qmesh logs supervisor'"
        ) from None
    answer = json.loads(line or b'{"ok": false, "error": "the supervisor went away"}')
    if not isinstance(answer, dict):
        raise NotRunningError("the supervisor's answer makes no sense")
    return answer
