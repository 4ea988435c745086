"""Supervisor of the local mesh."""
