"""The OpenAPI 3.1 document: what FastAPI knows, plus request bodies, problems, the API key and examples."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from qmesh_gateway.bodies import Body, CompileBody, SubmitBody, ValidateBody

PREFIX = "/api/v1"

_BODIES: dict[str, type[Body]] = {
    "submitCircuit": SubmitBody,
    "validateCircuit": ValidateBody,
    "compileCircuit": CompileBody,
}
_OPEN = frozenset({"getIndex", "getHealth", "getReady"})
_JOB_ID = "0b6d3f6e-6c0e-4a53-9d4b-0d9c0f4f7b52"
_PEER_ID = "12D3KooWC6adwc312fwQyq9iYSVvtzZgYBhKh7pYQV7XguLkseN6"
_PROGRESS: dict[str, object] = {
    "total_fragments": 3,
    "completed_fragments": 0,
    "active_fragments": 0,
    "ratio": 0.0,
}
_QUEUED: dict[str, object] = {
    "job_id": _JOB_ID,
    "status": "QUEUED",
    "plan_id": None,
    "plans": [],
    "error": None,
    "progress": _PROGRESS | {"latest_event_at": "2026-01-05T12:00:00Z"},
    "circuit_preview": "OPENQASM 3; ...",
    "shots": 1024,
    "seed": "7",
    "strategy": "cost",
    "noise": False,
    "precision": "double",
    "min_fidelity": 0.8,
    "timeout_s": 300.0,
    "cancel_requested": False,
    "metadata": {},
    "last_sequence": 1,
    "created_at": "2026-01-05T12:00:00Z",
    "updated_at": "2026-01-05T12:00:00Z",
}
_LINKS = {"self": f"{PREFIX}/jobs/{_JOB_ID}", "events": f"{PREFIX}/jobs/{_JOB_ID}/events"}
_EXAMPLES: dict[str, object] = {
    "getHealth": {
        "status": "ok",
        "service": "gateway",
        "environment": "local",
        "version": "0.1.0",
        "uptime_seconds": 12.5,
    },
    "getReady": {
        "status": "ready",
        "missing": [],
        "dependencies": [{"name": "runtime", "mode": "grpc", "reachable": True, "message": ""}],
    },
    "submitCircuit": _QUEUED | {"links": _LINKS},
    "getJob": _QUEUED | {"result": None},
    "listJobs": {"jobs": [_QUEUED], "next_cursor": None},
    "cancelJob": _QUEUED | {"cancel_requested": True},
    "getShots": {"job_id": _JOB_ID, "shots": 8, "columns": [{"bit": 0, "column": "pQ=="}]},
    "listServices": {
        "snapshot_id": "5d0c",
        "services": [
            {
                "node_id": _PEER_ID,
                "node_name": "alice",
                "listen_addrs": ["/ip4/127.0.0.1/tcp/40001"],
                "service_type": "cnot",
                "fidelity": 0.985,
                "qubit_min": 2,
                "qubit_max": 2,
                "availability": "available",
                "gate_set": ["cx"],
                "updated_at": "2026-01-05T12:00:00Z",
            }
        ],
    },
}
_PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem document.",
    "required": ["type", "title", "status", "detail", "code", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable machine code."},
        "request_id": {"type": "string", "format": "uuid"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "field": {"type": "string"},
                    "line": {"type": "integer"},
                    "column": {"type": "integer"},
                    "end_column": {"type": "integer"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "hint": {"type": ["string", "null"]},
                },
            },
        },
    },
    "examples": [
        {
            "type": "urn:qmesh:problem:circuit-invalid",
            "title": "Not acceptable as it stands",
            "status": 422,
            "detail": "line 3, column 1: there is no gate `hh`",
            "code": "CIRCUIT_INVALID",
            "request_id": _JOB_ID,
            "errors": [
                {
                    "line": 3,
                    "column": 1,
                    "end_column": 3,
                    "code": "QASM212",
                    "message": "there is no gate `hh`",
                    "hint": "did you mean `h`?",
                }
            ],
        }
    ],
}
_REFUSED = {
    "description": "Refused, or failed; `code` says why.",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe(app: FastAPI) -> None:
    """Replaces the application's OpenAPI document by the full one, made once on first use."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(plain())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the document


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    template = "#/components/schemas/{model}"
    inputs = [(kind, "validation") for kind in _BODIES.values()]
    _, made = models_json_schema(inputs, ref_template=template)  # type: ignore[arg-type] # a list of literals
    document["components"] = {
        "schemas": made["$defs"] | {"Problem": _PROBLEM},
        "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer"}},
    }
    for methods in document["paths"].values():
        for operation in methods.values():
            _complete(operation)
    return document


def _complete(operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    responses = operation["responses"]
    responses.pop("422", None)
    responses["default"] = _REFUSED
    if name not in _OPEN:
        operation["security"] = [{"apiKey": []}, {}]
    if name in _BODIES:
        reference = {"$ref": f"#/components/schemas/{_BODIES[name].__name__}"}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    for response in responses.values():
        content = response.get("content", {}).get("application/json")
        if content is not None and name in _EXAMPLES:
            content["schema"] = {"type": "object"}
            content["example"] = _EXAMPLES[name]
