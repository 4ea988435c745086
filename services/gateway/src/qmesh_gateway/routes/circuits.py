"""POST /circuits/submit, /circuits/validate, /circuits/compile."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request
from google.protobuf.message import Message

from qmesh.circuit.v1 import caller_pb2 as caller
from qmesh.circuit.v1 import circuit_pb2 as circuit
from qmesh.planner.v1 import planner_pb2 as planner
from qmesh.runtime.v1 import runtime_pb2 as runtime
from qmesh_gateway.answers import JsonResponse
from qmesh_gateway.bodies import CompileBody, SubmitBody, ValidateBody, read
from qmesh_gateway.domain import documents
from qmesh_gateway.domain.parameters import check_values
from qmesh_gateway.domain.problems import ProblemError, of_diagnostics
from qmesh_gateway.state import GatewayState, caller_of, state_of
from qmesh_model import wire
from qmesh_model.budgets import Budgets
from qmesh_model.circuit import Circuit
from qmesh_model.description import describe
from qmesh_model.diagnostics import CircuitError
from qmesh_model.parser import parse

router = APIRouter(prefix="/circuits", tags=["circuits"])

_OFF_LOOP = 16 << 10
_SHORT = 1_000
_NOTHING = "MESH156"
_EXCEEDED = frozenset({"MESH101", "MESH107", "MESH108", "MESH109", "MESH119", "MESH120"})
_LARGEST_MESSAGE = (4 << 20) - (64 << 10)  # below the 4 MiB that a gRPC server of the mesh takes
_KEY_LENGTH = 200
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
Caller = Annotated[caller.Caller, Depends(caller_of)]


async def read_circuit[T](state: GatewayState, text: str, make: Callable[[Circuit], T]) -> tuple[Circuit, T]:
    """The circuit, and what is made of it; only short circuits are read on the event loop.

    Raises:
        ProblemError: 413 or 422 with line, column and hint.
    """
    budgets = state.settings.circuits.budgets()
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > budgets.text_bytes:
        raise ProblemError(
            413,
            "CIRCUIT_TOO_LARGE",
            f"the circuit has {size} bytes, more than {budgets.text_bytes} (`text_bytes`)",
        )
    try:
        if size <= _OFF_LOOP:
            try:
                return _read(text, _short(budgets), make)
            except CircuitError as error:
                if not any(found.code in _EXCEEDED for found in error.diagnostics):
                    raise
        return await asyncio.to_thread(_read, text, budgets, make)
    except CircuitError as error:
        raise of_diagnostics(error.diagnostics) from None


def _check_executable(form: Circuit) -> None:
    """A text that is only declarations may be validated; as a job or a plan it could only fail."""
    found = [warning for warning in form.warnings if warning.code == _NOTHING]
    if found:
        raise of_diagnostics(found)


def _short(budgets: Budgets) -> Budgets:
    """Bounds of what is read on the event loop: a short text can stand for a large circuit."""
    return replace(
        budgets,
        operations=min(budgets.operations, _SHORT),
        gate_operations=min(budgets.gate_operations, _SHORT),
        iterations=min(budgets.iterations, _SHORT),
        operands=min(budgets.operands, 10 * _SHORT),
        condition_reads=min(budgets.condition_reads, 10 * _SHORT),
        expression_work=min(budgets.expression_work, 10 * _SHORT),
        loop_bytes=min(budgets.loop_bytes, _OFF_LOOP),
    )


def _read[T](text: str, budgets: Budgets, make: Callable[[Circuit], T]) -> tuple[Circuit, T]:
    form = parse(text, budgets)
    return form, make(form)


@router.post("/submit", status_code=202, operation_id="submitCircuit")
async def submit(request: Request, who: Caller) -> JsonResponse:
    """Submits a circuit; a circuit that cannot be understood is refused at once."""
    body, raw = await read(request, SubmitBody)
    state = state_of(request)
    form, circuit_form = await read_circuit(state, body.circuit, wire.to_proto)
    _check_executable(form)
    message = runtime.SubmitRequest(
        caller=who,
        text=body.circuit,
        circuit=circuit_form,
        shots=body.shots,
        seed=body.seed,
        min_fidelity=body.min_fidelity,
        strategy=documents.STRATEGIES[body.strategy],
        noise=body.noise,
        precision=documents.PRECISIONS[body.precision],
        parameter_sets=await _parameter_sets(state, body, form),
        observables=_observables(body, form),
        priority=body.priority,
        timeout_seconds=body.timeout_s,
        metadata_json=_metadata(body),
        idempotency_key=_idempotency_key(request),
        body_digest=hashlib.sha256(raw).digest(),
    )
    _check_size(message)
    answer = await state.clients.runtime.Submit(message, timeout=state.clients.timeout)
    location = f"/api/v1/jobs/{answer.job.job_id}"
    return JsonResponse(
        documents.job(answer.job, result=False)
        | {
            "links": {"self": location, "events": f"{location}/events"},
            "warnings": [warning.document() for warning in form.warnings],
        },
        status_code=202,
        headers={"location": location},
    )


def _check_size(message: Message) -> None:
    size = message.ByteSize()
    if size > _LARGEST_MESSAGE:
        raise ProblemError(
            413,
            "CIRCUIT_TOO_LARGE",
            f"the normal form with its parameters has {size} bytes; send less at once",
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
    if len(data) > 16 << 10 or _NUL.search(data):
        raise ProblemError(422, "INVALID_ARGUMENT", "metadata is larger than 16 KiB, or has a NUL in it")
    return data


async def _parameter_sets(state: GatewayState, body: SubmitBody, form: Circuit) -> list[circuit.ParameterSet]:
    if body.parameters is not None and body.parameter_sets is not None:
        raise ProblemError(422, "INVALID_ARGUMENT", "give parameters or parameter_sets, not both")
    sets = body.parameter_sets or ([body.parameters] if body.parameters else [])
    if form.symbols or sets:
        most = state.settings.circuits.budgets().expression_work
        await asyncio.to_thread(check_values, form, sets, most)
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


@router.post("/validate", operation_id="validateCircuit", dependencies=[Depends(caller_of)])
async def validate(request: Request) -> JsonResponse:
    """Says what the mesh understands of a circuit, without running it."""
    body, _ = await read(request, ValidateBody)
    _, document = await read_circuit(state_of(request), body.circuit, describe)
    return JsonResponse(document)


@router.post("/compile", operation_id="compileCircuit")
async def compile_circuit(request: Request, who: Caller) -> JsonResponse:
    """Plans a circuit without running it."""
    body, _ = await read(request, CompileBody)
    form, circuit_form = await read_circuit(state_of(request), body.circuit, wire.to_proto)
    _check_executable(form)
    message = planner.CompileRequest(
        caller=who,
        circuit=circuit_form,
        strategy=documents.STRATEGIES[body.strategy],
        shots=body.shots,
        noise=body.noise,
        precision=documents.PRECISIONS[body.precision],
        min_fidelity=body.min_fidelity if body.noise else 0.0,
        snapshot_id=body.snapshot_id,
    )
    _check_size(message)
    return JsonResponse(documents.plan(await state_of(request).clients.compile(message)))
