"""Entry of a worker process; imports Qiskit only inside it, so that the front never does."""

from multiprocessing.connection import Connection


def run_worker(connection: Connection, memory_bytes: int) -> None:
    """Serves analyses on a pipe."""
    from qmesh_analyzer.work import serve

    serve(connection, memory_bytes)
