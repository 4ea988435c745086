"""A compiler process: reads length-prefixed requests on standard input, writes answers on standard output.

It ends with its input, so that it never outlives the planner.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

import orjson

from qmesh.planner.v1 import planner_pb2 as planner
from qmesh_model.errors import MeshError
from qmesh_planner.domain.plan import make_plan
from qmesh_planner.domain.weights import Weights

PLAN, REFUSAL = b"P", b"E"


def answer(body: bytes, weights: Weights) -> bytes:
    """A plan, or a refusal as JSON."""
    try:
        plan = make_plan(planner.CompileRequest.FromString(body), weights)
    except MeshError as error:
        return REFUSAL + orjson.dumps([error.code, error.message, error.details])
    return PLAN + plan.SerializeToString(deterministic=True)


def _frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(4)
    return stream.read(int.from_bytes(head, "big")) if len(head) == 4 else None  # noqa: PLR2004 - a length of 4 bytes


def main() -> None:
    """Serves until the input ends."""
    weights = Weights(*map(int, sys.argv[1:5]))
    while (body := _frame(sys.stdin.buffer)) is not None:
        result = answer(body, weights)
        sys.stdout.buffer.write(len(result).to_bytes(4, "big") + result)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
