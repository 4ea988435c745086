"""Entry of a worker process; imports Qiskit only inside it, so that the front never does."""

from socket import socket


def run_worker(connection: socket, memory_bytes: int, cpu_seconds: int) -> None:
    """Serves analyses on a socket until it closes."""
    from qmesh_analyzer.work import serve

    serve(connection, memory_bytes, cpu_seconds)
