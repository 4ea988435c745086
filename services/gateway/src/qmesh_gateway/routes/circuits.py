"""POST /circuits/submit, /circuits/validate, /circuits/compile."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi.responses import ORJSONResponse

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_gateway.bodies import CompileBody, SubmitBody, ValidateBody, read
from qmesh_gateway.domain import documents
from qmesh_gateway.domain.problems import ProblemError, diagnostic_document, of_diagnostics
from qmesh_gateway.state import caller_of, state_of
from qmesh_model import wire
from qmesh_model.circuit import Circuit
from qmesh_model.diagnostics import CircuitError
from qmesh_model.parser import parse
from qmesh_model.statistics import statistics_of

router = APIRouter(prefix="/circuits", tags=["circuits"])

_OFF_LOOP = 16 << 10
_LARGEST = 256 << 10
_KEY_LENGTH = 200
Caller = Annotated[caller.Caller, Depends(caller_of)]


def _schema(kind: type[SubmitBody | ValidateBody | CompileBody]) -> dict[str, object]:
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": kind.model_json_schema()}},
        }
    }


async def parsed(text: str) -> Circuit:
    """The circuit; long texts are parsed off the event loop.

    Raises:
        ProblemError: 413 or 422 with line, column and hint.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > _LARGEST:
        raise ProblemError(413, "CIRCUIT_TOO_LARGE", f"the circuit has {size} bytes, more than {_LARGEST}")
    try:
        return parse(text) if size <= _OFF_LOOP else await asyncio.to_thread(parse, text)
    except CircuitError as error:
        raise of_diagnostics(error.diagnostics) from None


@router.post("/submit", status_code=202, operation_id="submitCircuit", openapi_extra=_schema(SubmitBody))
async def submit(request: Request, who: Caller) -> ORJSONResponse:
    """Submits a circuit; a circuit that cannot be understood is refused at once."""
    body, raw = await read(request, SubmitBody)
    state = state_of(request)
    form = await parsed(body.circuit)
    message = runtime.SubmitRequest(
        caller=who,
        text=body.circuit,
        circuit=wire.to_proto(form),
        shots=body.shots,
        seed=body.seed,
        min_fidelity=body.min_fidelity,
        strategy=documents.STRATEGIES[body.strategy],
        noise=body.noise,
        parameter_sets=_parameter_sets(body, form),
        observables=_observables(body, form),
        priority=body.priority,
        timeout_seconds=body.timeout_s,
        metadata_json=_metadata(body),
        idempotency_key=_idempotency_key(request),
        body_digest=hashlib.sha256(raw).digest(),
    )
    answer = await state.clients.runtime.Submit(message, timeout=state.clients.timeout)
    location = f"/api/v1/jobs/{answer.job.job_id}"
    return ORJSONResponse(
        documents.job(answer.job, result=False)
        | {"links": {"self": location, "events": f"{location}/events"}},
        status_code=202,
        headers={"location": location},
    )


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if len(key) > _KEY_LENGTH or not key.isprintable():
        raise ProblemError(
            400, "IDEMPOTENCY_KEY_INVALID", f"an idempotency key has at most {_KEY_LENGTH} characters"
        )
    return key


def _metadata(body: SubmitBody) -> bytes:
    data = orjson.dumps(body.metadata)
    if len(data) > 16 << 10 or b"\\u0000" in data:
        raise ProblemError(422, "INVALID_ARGUMENT", "metadata is larger than 16 KiB, or has a NUL in it")
    return data


def _parameter_sets(body: SubmitBody, form: Circuit) -> list[circuit.ParameterSet]:
    if body.parameters is not None and body.parameter_sets is not None:
        raise ProblemError(422, "INVALID_ARGUMENT", "give parameters or parameter_sets, not both")
    sets = body.parameter_sets or ([body.parameters] if body.parameters else [])
    wanted = set(form.symbols)
    if wanted and not sets:
        raise ProblemError(
            422,
            "PARAMETERS_MISSING",
            f"the circuit has parameters without values: {', '.join(sorted(wanted))}",
        )
    for number, values in enumerate(sets):
        if set(values) != wanted:
            odd = ", ".join(sorted(set(values) ^ wanted))
            raise ProblemError(
                422, "PARAMETERS_MISMATCH", f"parameter set {number} and the circuit differ in: {odd}"
            )
    return [circuit.ParameterSet(values=values) for values in sets]


def _observables(body: SubmitBody, form: Circuit) -> list[circuit.Observable]:
    for wanted in body.observables:
        if any(len(term.paulis) != form.num_qubits for term in wanted.terms):
            raise ProblemError(
                422,
                "INVALID_ARGUMENT",
                f"observable {wanted.name!r} needs one Pauli letter for each of {form.num_qubits} qubits",
            )
    return [
        circuit.Observable(
            name=wanted.name,
            terms=[circuit.PauliTerm(paulis=t.paulis, coefficient=t.coefficient) for t in wanted.terms],
        )
        for wanted in body.observables
    ]


@router.post("/validate", operation_id="validateCircuit", openapi_extra=_schema(ValidateBody))
async def validate(request: Request, who: Caller) -> ORJSONResponse:
    """Says what the mesh understands of a circuit, without running it."""
    body, _ = await read(request, ValidateBody)
    form = await parsed(body.circuit)
    return ORJSONResponse(
        {
            "valid": True,
            "diagnostics": [diagnostic_document(d) for d in form.warnings],
            "qubits": form.num_qubits,
            "operations": [
                {
                    "index": op.index,
                    "name": op.name,
                    "service_type": op.service_type or None,
                    "qubits": list(op.qubits),
                    "terminal": op.terminal,
                    "line": op.span.line,
                    "column": op.span.column,
                }
                for op in form.operations
            ],
            "digest": form.digest.hex(),
            "statistics": statistics_of(form),
        }
    )


@router.post("/compile", operation_id="compileCircuit", openapi_extra=_schema(CompileBody))
async def compile_circuit(request: Request, who: Caller) -> ORJSONResponse:
    """Plans a circuit without running it."""
    body, _ = await read(request, CompileBody)
    form = await parsed(body.circuit)
    plan = await state_of(request).clients.compile(
        planner.CompileRequest(
            caller=who,
            circuit=wire.to_proto(form),
            strategy=documents.STRATEGIES[body.strategy],
            shots=body.shots,
            noise=body.noise,
            min_fidelity=body.min_fidelity if body.noise else 0.0,
            snapshot_id=body.snapshot_id,
        )
    )
    return ORJSONResponse(documents.plan(plan))
