"""JSON answers, written by orjson."""

from typing import Any, override

import orjson
from starlette.responses import JSONResponse


class JsonResponse(JSONResponse):
    """A document as UTF-8 JSON; NaN and infinities become null, which JSON has no words for."""

    @override
    def render(self, content: Any) -> bytes:
        """The bytes."""
        return orjson.dumps(content)
