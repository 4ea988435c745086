"""Supervisor of the local mesh: one process for each part, started, watched, restarted, ended together."""

__version__ = "0.1.0"
