from qmesh_kit.servers import first_error

_PANIC = """
2026-01-05 12:00:00 UTC [7] PANIC:  could not open file "global/pg_control": Permission denied
2026-01-05 12:00:00 UTC [7] STATEMENT:  CREATE DATABASE template0 IS_TEMPLATE = true STRATEGY = file_copy;

Aborted
child process exited with exit code 134
initdb: error: failed to remove data directory
"""


def test_the_first_error_is_said_not_what_followed_from_it() -> None:
    """The cause stands in one line, which is all that a failed start shows."""
    found = first_error(_PANIC)
    assert found.endswith('PANIC:  could not open file "global/pg_control": Permission denied')
    assert "\n" not in found


def test_output_without_an_error_gives_its_last_lines() -> None:
    """A server that only stops is quoted."""
    assert first_error("one\ntwo\n\nthree\nfour\n") == "two / three / four"
    assert first_error("") == ""
