"""What a worker process does: one analysis at a time, under resource limits, until its socket closes.

Preloaded by the fork server, so that a new worker costs milliseconds and shares Qiskit's memory.
"""

from __future__ import annotations

import resource
import time
from io import BufferedReader
from socket import socket

import orjson
import qiskit
import qiskit_aer
import structlog
from google.protobuf.message import DecodeError

from qmesh.analyzer.v1 import analyzer_pb2 as analysis
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh_analyzer import framing
from qmesh_analyzer.domain.errors import AnalysisError
from qmesh_analyzer.domain.factors import ideal_factors
from qmesh_analyzer.domain.report import Report
from qmesh_kit import logs

ERROR, RESULT = b"E", b"R"
VERSION = qiskit.__version__
AER_VERSION = qiskit_aer.__version__

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
    answer = answer_of([framing.ANALYZE, warm, b"[]"])
    # after the first matrix product: OpenBLAS crashes when it gets no memory for its buffers, which it keeps for ever
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with connection, connection.makefile("rb") as reader:
        while True:
            connection.sendall(framing.word(len(answer)))
            connection.sendall(answer)
            _bound_cpu(cpu_seconds)
            try:
                parts = _receive(reader)
            except EOFError:
                return
            answer = answer_of(parts)
            del parts


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


def answer_of(parts: list[bytes]) -> bytes:
    """The answer to one request: its kind first, then what `_analysis` or `_factors` takes."""
    kind, *rest = parts
    try:
        return RESULT + (_factors(*rest) if kind == framing.FACTOR else _analysis(rest))
    except AnalysisError as error:
        return _error(error.code, error.message)
    except DecodeError:
        return _error("INVALID_ARGUMENT", "the analysis request cannot be read")
    except MemoryError:
        return _error("ANALYZER_RESOURCE", "the analysis needs more memory than it may use")
    except BaseException:  # noqa: BLE001 - a panic in Qiskit's native code is no Exception
        structlog.get_logger().exception("the analysis failed")
        return _error("INTERNAL", "the analysis failed unexpectedly")


def _analysis(parts: list[bytes]) -> bytes:
    """Analysis from its header, how many bytes of each component are rows, and the components."""
    begun = time.process_time()
    header = analysis.AnalysisHeader.FromString(parts[0])
    report = Report(header, list(zip(parts[2:], orjson.loads(parts[1]), strict=True)))
    document = orjson.dumps(report.build())
    return analysis.AnalyzeResponse(
        status=analysis.ANALYSIS_STATUS_PARTIAL if report.code else analysis.ANALYSIS_STATUS_COMPLETE,
        code=report.code,
        quantum_result_json=document,
        cpu_seconds=time.process_time() - begun,
        qiskit_version=VERSION,
    ).SerializeToString()


def _factors(request: bytes) -> bytes:
    """Factors of the ideal state: size of their header, the header, and the factors of each component, one behind the other."""
    wanted = analysis.FactorRequest.FromString(request)
    made = ideal_factors(wanted)
    header = analysis.FactorHeader(
        weights=made.weights.tolist(), remainder=made.remainder
    ).SerializeToString()
    return b"".join([framing.word(len(header)), header, *(vectors.data for vectors in made.vectors)])


def _error(code: str, message: str) -> bytes:
    return ERROR + orjson.dumps([code, message])
