"""Python SDK: a mesh over HTTP."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

TERMINAL = frozenset({"COMPLETED", "FAILED", "CANCELED"})
_DEFAULT_URL = "http://127.0.0.1:8080"
_RESUME_SECONDS = 0.1
_GONE_SECONDS = 10.0
_UNAVAILABLE = 503
_STREAM_SECONDS = 60.0  # the gateway says "still here" more often than that


class MeshAddressError(ValueError):
    """The address or the key cannot be used for a request; never repeats the key."""


class MeshUnreachableError(Exception):
    """No mesh answers at the address.

    Attributes:
        remedy: what to do.
    """

    def __init__(self, message: str, remedy: str) -> None:
        """Takes what happened and what to do."""
        super().__init__(message)
        self.remedy = remedy


class MeshRefusedError(Exception):
    """The mesh refused a request.

    Attributes:
        status: HTTP status.
        problem: the problem document.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        """Takes the answer."""
        super().__init__(str(problem.get("detail", f"HTTP {status}")))
        self.status = status
        self.problem = dict(problem)


def _check(url: str, key: str | None) -> None:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise MeshAddressError(f"{url!r} is no address: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise MeshAddressError(f"{url!r} is no address: it should be like {_DEFAULT_URL}")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise MeshAddressError("the API key has characters that a key cannot have")


def default_url() -> str:
    """`QMESH_URL`, else the local mesh's gateway, else port 8080 of this machine."""
    if url := os.environ.get("QMESH_URL"):
        return url
    state = Path(os.environ.get("QMESH_HOME") or ".qmesh") / "run" / "mesh.json"
    try:
        return str(json.loads(state.read_text())["gateway_url"])
    except (OSError, ValueError, KeyError):
        return _DEFAULT_URL


class Mesh:
    """A client of one mesh; a context manager.

    Args:
        url: address of the gateway.
        api_key: API key, where the mesh asks for one.
        timeout: seconds for one request.
    """

    remedy = "Is it running? Start one with 'qmesh up', or set QMESH_URL."
    elsewhere = (
        "Another program has that port: set QMESH_URL to the gateway of a mesh ('qmesh status' prints it)."
    )

    def __init__(self, url: str | None = None, api_key: str | None = None, timeout: float = 30.0) -> None:
        """Connects on first use.

        Raises:
            MeshAddressError: the address is no HTTP URL, or the key has characters that no header can have.
        """
        key = api_key or os.environ.get("QMESH_API_KEY")
        self.url = (url or default_url()).rstrip("/")
        _check(self.url, key)
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v1",
            timeout=timeout,
            headers={"authorization": f"Bearer {key}"} if key else {},
            trust_env=False,
        )

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes connections."""
        self._http.close()

    def place(self) -> str:
        """Where the mesh is, for people."""
        return self.url

    def _unreachable(self, what: str, why: str = "") -> MeshUnreachableError:
        return MeshUnreachableError(f"{what} {self.place()}{': ' if why else ''}{why}", self.remedy)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise self._unreachable("cannot reach a mesh at", str(error)) from None
        if answer.is_error:
            raise _refused(answer)
        try:
            return answer.json()
        except ValueError:
            raise MeshUnreachableError(
                f"what answers at {self.place()} is not a mesh: it sent no JSON", self.elsewhere
            ) from None

    def submit(self, circuit: str, *, idempotency_key: str | None = None, **options: Any) -> dict[str, Any]:
        """Submits a circuit; options are the fields of the HTTP body (shots, seed, strategy, noise, ...)."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        body = {"circuit": circuit} | {k: v for k, v in options.items() if v is not None}
        answer: dict[str, Any] = self._ask("POST", "/circuits/submit", json=body, headers=headers)
        return answer

    def validate(self, circuit: str) -> dict[str, Any]:
        """What the mesh understands of a circuit."""
        answer: dict[str, Any] = self._ask("POST", "/circuits/validate", json={"circuit": circuit})
        return answer

    def job(self, job_id: str, detail: str = "full") -> dict[str, Any]:
        """One job."""
        answer: dict[str, Any] = self._ask("GET", f"/jobs/{job_id}", params={"result_detail": detail})
        return answer

    def jobs(self, limit: int = 20, status: str | None = None) -> list[dict[str, Any]]:
        """Jobs, newest first."""
        params: dict[str, Any] = {"limit": limit} | ({"status": status} if status else {})
        answer: list[dict[str, Any]] = self._ask("GET", "/jobs", params=params)["jobs"]
        return answer

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Asks for the end of a job."""
        answer: dict[str, Any] = self._ask("POST", f"/jobs/{job_id}/cancel")
        return answer

    def plan(self, plan_id: str) -> dict[str, Any]:
        """A plan with its explained candidates."""
        answer: dict[str, Any] = self._ask("GET", f"/plans/{plan_id}")
        return answer

    def services(self) -> dict[str, Any]:
        """Services of the nodes that live."""
        answer: dict[str, Any] = self._ask("GET", "/services")
        return answer

    def topology(self) -> dict[str, Any]:
        """Peers and measured links."""
        answer: dict[str, Any] = self._ask("GET", "/discovery/topology")
        return answer

    def ready(self) -> dict[str, Any]:
        """State of the mesh's parts, also when some are missing."""
        try:
            answer: dict[str, Any] = self._ask("GET", "/ready")
        except MeshRefusedError as error:
            return error.problem
        return answer

    def events(self, job_id: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Every event of a job, in order, until it ends; a broken stream is resumed."""
        last = after
        while True:
            try:
                for event in self._stream(job_id, last):
                    last = int(event["sequence"])
                    yield event
            except httpx.TransportError as error:
                if not self._alive():
                    raise self._unreachable("lost the mesh at", str(error)) from None
            except MeshRefusedError as error:
                if error.status != _UNAVAILABLE:
                    raise
            job = self._patient_job(job_id, "none")
            if job["status"] in TERMINAL and int(job["last_sequence"]) <= last:
                return
            time.sleep(_RESUME_SECONDS)

    def _patient_job(self, job_id: str, detail: str) -> dict[str, Any]:
        """A job, also when a part of the mesh is away for a moment (503)."""
        deadline = time.monotonic() + _GONE_SECONDS
        while True:
            try:
                return self.job(job_id, detail)
            except MeshRefusedError as error:
                if error.status != _UNAVAILABLE or time.monotonic() > deadline:
                    raise
            time.sleep(_RESUME_SECONDS)

    def _alive(self) -> bool:
        deadline = time.monotonic() + _GONE_SECONDS
        while time.monotonic() < deadline:
            try:
                self._http.get("/health", timeout=1.0)
            except httpx.TransportError:
                time.sleep(_RESUME_SECONDS)
            else:
                return True
        return False

    def _stream(self, job_id: str, after: int) -> Iterator[dict[str, Any]]:
        params = {"after": after}
        with self._http.stream(
            "GET", f"/jobs/{job_id}/events", params=params, timeout=_STREAM_SECONDS
        ) as answer:
            if answer.is_error:
                answer.read()
                raise _refused(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line[6:])

    def wait(self, job_id: str, timeout: float = 300.0) -> dict[str, Any]:
        """The job when it has ended.

        Raises:
            TimeoutError: it has not.
        """
        deadline = time.monotonic() + timeout
        for _ in self.events(job_id):
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job_id} has not ended after {timeout:g} s")
        return self._patient_job(job_id, "full")


def _refused(answer: httpx.Response) -> MeshRefusedError:
    try:
        problem = answer.json()
    except ValueError:
        problem = {"detail": f"HTTP {answer.status_code} from something that is not a mesh"}
    return MeshRefusedError(answer.status_code, problem if isinstance(problem, dict) else {})
