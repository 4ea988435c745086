"""Alembic's entry."""

from qmesh_kit.sql.alembic_env import run

run()
