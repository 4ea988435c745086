"""GET / and /docs: where to go from here, without a script or a foreign host."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from qmesh_gateway import __version__
from qmesh_gateway.answers import JsonResponse

router = APIRouter(tags=["system"])

_PREFIX = "/api/v1"
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
code {{ font-size: 0.95em }} td {{ padding: 0.2rem 1rem 0.2rem 0; vertical-align: top }}</style></head>
<body><h1>{title}</h1><p>{summary}. The machine-readable form of this page is
<a href="{prefix}/openapi.json">{prefix}/openapi.json</a>.</p><table>{rows}</table></body></html>
"""


@router.get("/", operation_id="getIndex")
@router.get(f"{_PREFIX}/", include_in_schema=False)
async def index() -> JsonResponse:
    """What there is."""
    return JsonResponse(
        {
            "service": "qmesh gateway",
            "version": __version__,
            "docs": "/docs",
            "openapi": f"{_PREFIX}/openapi.json",
            "health": f"{_PREFIX}/health",
            "ready": f"{_PREFIX}/ready",
            "submit": f"{_PREFIX}/circuits/submit",
            "jobs": f"{_PREFIX}/jobs",
            "services": f"{_PREFIX}/services",
            "topology": f"{_PREFIX}/discovery/topology",
        }
    )


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Every route with one line, from the OpenAPI document."""
    document: dict[str, Any] = request.app.openapi()
    rows = "".join(
        f"<tr><td><code>{method.upper()}</code></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation.get('description') or operation['summary'])}</td></tr>"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    page = _PAGE.format(
        title=escape(f"{document['info']['title']} {document['info']['version']}"),
        summary=escape(document["info"]["summary"]),
        prefix=_PREFIX,
        rows=rows,
    )
    return HTMLResponse(
        page, headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    )
