"""The ASGI application: routes, problem documents, OpenAPI."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import ORJSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from qmesh_gateway import __version__
from qmesh_gateway.adapters.limits import Envelope
from qmesh_gateway.domain.problems import ProblemError, of_service_error
from qmesh_gateway.routes import circuits, discovery, jobs, plans, system
from qmesh_gateway.state import GatewayState
from qmesh_kit.errors import ServiceError

PREFIX = "/api/v1"


def _problem(request: Request, problem: ProblemError) -> Response:
    headers = {}
    if problem.retry_after is not None:
        headers["retry-after"] = str(max(1, round(problem.retry_after)))
    if problem.status == 401:  # noqa: PLR2004 - the HTTP status
        headers["www-authenticate"] = "Bearer"
    return ORJSONResponse(
        problem.document(request.state.request_id),
        status_code=problem.status,
        headers=headers,
        media_type="application/problem+json",
    )


async def _on_problem(request: Request, error: Exception) -> Response:
    if isinstance(error, ServiceError):
        return _problem(request, of_service_error(error))
    assert isinstance(error, ProblemError)  # noqa: S101 - the only other registered type
    return _problem(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    entries: list[dict[str, object]] = [
        {
            "field": ".".join(str(part) for part in item["loc"])[:128],
            "code": str(item["type"]).upper(),
            "message": str(item["msg"])[:256],
            "hint": None,
        }
        for item in error.errors()
    ]
    detail = f"{entries[0]['field']}: {entries[0]['message']}" if entries else "the request is not valid"
    return _problem(request, ProblemError(422, "INVALID_ARGUMENT", detail, entries))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    codes = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
    code = codes.get(error.status_code, "HTTP_ERROR")
    return _problem(request, ProblemError(error.status_code, code, str(error.detail)[:200]))


def build(state: GatewayState) -> ASGIApp:
    """The application over a state made by the composition root."""
    app = FastAPI(
        title="qmesh",
        version=__version__,
        summary="Distributed quantum services mesh",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        default_response_class=ORJSONResponse,
    )
    app.state.gateway = state
    for module in (system, circuits, jobs, plans, discovery):
        app.include_router(module.router, prefix=PREFIX)
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(ServiceError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)

    @app.get("/", operation_id="getIndex", tags=["system"])
    @app.get(f"{PREFIX}/", include_in_schema=False)
    async def index() -> ORJSONResponse:
        """What there is."""
        return ORJSONResponse(
            {
                "service": "qmesh gateway",
                "version": __version__,
                "openapi": f"{PREFIX}/openapi.json",
                "health": f"{PREFIX}/health",
                "ready": f"{PREFIX}/ready",
                "submit": f"{PREFIX}/circuits/submit",
                "jobs": f"{PREFIX}/jobs",
                "services": f"{PREFIX}/services",
                "topology": f"{PREFIX}/discovery/topology",
            }
        )

    return Envelope(app, state.settings.max_body)
