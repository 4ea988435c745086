"""What a worker process does: one analysis at a time, under resource limits, until its pipe closes.

Preloaded by the fork server, so that a new worker costs milliseconds and shares Qiskit's memory.
"""

from __future__ import annotations

import os
import resource
import time
from multiprocessing.connection import Connection

import orjson
import qiskit
import qiskit_aer
from google.protobuf.message import DecodeError

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.report import Report

ERROR, RESULT = b"E", b"R"
VERSION = qiskit.__version__
AER_VERSION = qiskit_aer.__version__


def serve(connection: Connection, memory_bytes: int) -> None:
    """Answers requests until the other end closes."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.environ["OMP_NUM_THREADS"] = "1"
    while True:
        try:
            frames = _receive(connection)
        except EOFError:
            return
        connection.send_bytes(_answer(frames))


def _receive(connection: Connection) -> list[bytes]:
    count = int.from_bytes(connection.recv_bytes(8), "little")
    return [connection.recv_bytes() for _ in range(count)]


def _answer(frames: list[bytes]) -> bytes:
    begun = time.process_time()
    try:
        header = analysis.AnalysisHeader.FromString(frames[0])
        sizes = orjson.loads(frames[1])
        document, complete = Report(header, list(zip(frames[2:], sizes, strict=True))).build()
    except AnalysisError as error:
        return ERROR + orjson.dumps([error.code, error.message])
    except DecodeError:
        return ERROR + orjson.dumps(["INVALID_ARGUMENT", "the analysis request cannot be read"])
    except MemoryError:
        return ERROR + orjson.dumps(["ANALYZER_RESOURCE", "the analysis needs more memory than it may use"])
    status = analysis.ANALYSIS_STATUS_COMPLETE if complete else analysis.ANALYSIS_STATUS_PARTIAL
    response = analysis.AnalyzeResponse(
        status=status,
        quantum_result_json=orjson.dumps(document),
        cpu_seconds=time.process_time() - begun,
        qiskit_version=VERSION,
    )
    return RESULT + response.SerializeToString()
