"""The ASGI application: routes, problem documents, OpenAPI."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from qmesh_gateway import __version__
from qmesh_gateway.adapters.limits import Envelope
from qmesh_gateway.answers import JsonResponse
from qmesh_gateway.domain.problems import ProblemError, of_failure, of_validation
from qmesh_gateway.openapi import PREFIX, describe
from qmesh_gateway.routes import circuits, discovery, index, jobs, plans, system
from qmesh_gateway.state import GatewayState
from qmesh_kit.errors import ServiceError


def _problem(request: Request, problem: ProblemError) -> Response:
    return JsonResponse(
        problem.document(request.state.request_id),
        status_code=problem.status,
        headers=problem.headers(),
        media_type="application/problem+json",
    )


async def _on_problem(request: Request, error: Exception) -> Response:
    if isinstance(error, ServiceError):
        return _problem(request, of_failure(error.code, error.message, error.status, error.retry_after))
    assert isinstance(error, ProblemError)  # noqa: S101 - the only other registered type
    return _problem(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    return _problem(request, of_validation(error.errors()))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    codes = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
    code = codes.get(error.status_code, "HTTP_ERROR")
    answer = _problem(request, ProblemError(error.status_code, code, str(error.detail)[:200]))
    answer.headers.update(error.headers or {})  # Allow, for a method that is not allowed
    return answer


async def _on_unforeseen(request: Request, _: Exception) -> Response:
    """Answers; the error goes on to the envelope, which logs it."""
    return _problem(
        request, ProblemError(500, "INTERNAL", "the gateway met an unexpected error; its log has the cause")
    )


def surface() -> FastAPI:
    """Routes and their description, over nothing yet."""
    app = FastAPI(
        title="qmesh",
        version=__version__,
        summary="Distributed quantum services mesh",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        default_response_class=JsonResponse,
    )
    for module in (system, circuits, jobs, plans, discovery):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(index.router)
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(ServiceError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_unforeseen)
    describe(app)
    return app


def build(state: GatewayState) -> ASGIApp:
    """The application over a state made by the composition root."""
    app = surface()
    app.state.gateway = state
    return Envelope(app, state.settings.max_body, state.settings.body_timeout)
