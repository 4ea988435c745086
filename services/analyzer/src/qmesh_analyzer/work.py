"""What a worker process does: one analysis at a time, under resource limits, until its socket closes.

Preloaded by the fork server, so that a new worker costs milliseconds and shares Qiskit's memory.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from socket import socket

import orjson
import qiskit
import qiskit_aer
import structlog
from google.protobuf.message import DecodeError

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer import framing, thread_data
from qmesh_analyzer.domain import aer
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.factors import ideal_factors
from qmesh_analyzer.domain.report import Report
from qmesh_kit import logs

ERROR, RESULT = b"E", b"R"
VERSION = qiskit.__version__
AER_VERSION = qiskit_aer.__version__
_RESERVE = 64 << 20
"""Bytes of address space above what an analysis may have."""

_BELL = circuit.Circuit(
    num_qubits=2,
    num_bits=1,
    num_versions=1,
    bit_registers=[circuit.Register(name="c", size=1)],
    final_versions=[0],
    operations=[
        circuit.Operation(kind=circuit.OPERATION_KIND_GATE, name="bell_pair", qubits=[0, 1]),
        circuit.Operation(
            index=1,
            kind=circuit.OPERATION_KIND_MEASURE,
            qubits=[0],
            writes=[circuit.ClassicalWrite()],
            terminal=True,
        ),
    ],
)


def serve(connection: socket, memory_bytes: int, cpu_seconds: int) -> None:
    """Warms up, says so, and answers requests until the other end closes."""
    logs.configure("analyzer")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    warm = analysis.AnalysisHeader(circuit=_BELL, shots=1, counts={"0": 1}).SerializeToString()
    # before the limit: OpenBLAS crashes when it gets no memory for its buffers, which it keeps for ever
    answer = answer_of([framing.ANALYZE, warm, b"[]"])
    thread_data.allocate()
    aer.start_thread(thread_data.allocate)
    ceiling = _mapped() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (ceiling + _RESERVE, ceiling + _RESERVE))
    with connection, connection.makefile("rb") as reader:
        while True:
            connection.sendall(framing.word(len(answer)))
            connection.sendall(answer)
            _bound_cpu(cpu_seconds)
            try:
                parts = _receive(reader)
            except EOFError:
                return
            answer = answer_of(parts, ceiling)
            del parts


def _mapped() -> int:
    """Bytes of address space that this process has mapped."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()


@contextmanager
def _memory_within(ceiling: int) -> Iterator[None]:
    """Refuses memory above a ceiling; afterwards there is the reserve, to tell a failure and take the next request."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _bound_cpu(seconds: int) -> None:
    """Ends this process when the next analysis takes longer, even if nobody is there to kill it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard))


def _receive(reader: BufferedReader) -> list[bytes]:
    return [_exactly(reader, _number(reader)) for _ in range(_number(reader))]


def _number(reader: BufferedReader) -> int:
    return framing.number(_exactly(reader, framing.WORD))


def _exactly(reader: BufferedReader, count: int) -> bytes:
    data = reader.read(count)
    if len(data) < count:
        raise EOFError
    return data


def answer_of(parts: list[bytes], ceiling: int = resource.RLIM_INFINITY) -> bytes:
    """The answer to one request, worked out below a ceiling of address space in bytes.

    The parts are the kind first, then what `_analysis` or `_factors` takes.
    """
    kind, *rest = parts
    try:
        return RESULT + (_factors(rest[0], ceiling) if kind == framing.FACTOR else _analysis(rest, ceiling))
    except AnalysisError as error:
        return _error(error.code, error.message)
    except DecodeError:
        return _error("INVALID_ARGUMENT", "the analysis request cannot be read")
    except MemoryError:
        return _error("ANALYZER_RESOURCE", "the analysis needs more memory than it may use")
    except BaseException:  # noqa: BLE001 - a panic in Qiskit's native code is no Exception
        structlog.get_logger().exception("the analysis failed")
        return _error("INTERNAL", "the analysis failed unexpectedly")


def _analysis(parts: list[bytes], ceiling: int) -> bytes:
    """Analysis from its header, how many bytes of each component are rows, and the components."""
    begun = time.process_time()
    header = analysis.AnalysisHeader.FromString(parts[0])
    components = list(zip(parts[2:], orjson.loads(parts[1]), strict=True))
    with _memory_within(ceiling):
        report = Report(header, components)
        built = report.build()
    document = orjson.dumps(built)  # in the reserve: it crashes when it gets no memory
    return analysis.AnalyzeResponse(
        status=analysis.ANALYSIS_STATUS_PARTIAL if report.code else analysis.ANALYSIS_STATUS_COMPLETE,
        code=report.code,
        quantum_result_json=document,
        cpu_seconds=time.process_time() - begun,
        qiskit_version=VERSION,
    ).SerializeToString()


def _factors(request: bytes, ceiling: int) -> bytes:
    """Factors of the ideal state: size of their header, the header, and the factors of each component, one behind the other."""
    wanted = analysis.FactorRequest.FromString(request)
    with _memory_within(ceiling):
        made = ideal_factors(wanted)
        vectors = b"".join(vectors.data for vectors in made.vectors)
    header = analysis.FactorHeader(weights=made.weights.tolist(), remainder=made.remainder)
    told = header.SerializeToString()
    return b"".join([framing.word(len(told)), told, vectors])


def _error(code: str, message: str) -> bytes:
    return ERROR + orjson.dumps([code, message])
