"""Plans in PostgreSQL: inserted once, never changed."""

from __future__ import annotations

import asyncio

from psycopg_pool import AsyncConnectionPool

_DEADLINE = 10.0
_SAVE = """
INSERT INTO planner.execution_plans (plan_id, tenant_id, snapshot_id, plan) VALUES (%s, %s, %s, %s)
ON CONFLICT (plan_id) DO NOTHING
"""
_LOAD = "SELECT plan FROM planner.execution_plans WHERE tenant_id = %s AND plan_id = %s"


class PostgresPlans:
    """Satisfies the `PlanStore` port."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        """Takes the pool."""
        self._pool = pool

    async def save(self, tenant_id: str, plan_id: str, snapshot_id: str, plan: bytes) -> None:
        """Stores a plan, once."""
        async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
            await connection.execute(_SAVE, (plan_id, tenant_id, snapshot_id, plan))

    async def load(self, tenant_id: str, plan_id: str) -> bytes | None:
        """A tenant's plan."""
        async with asyncio.timeout(_DEADLINE), self._pool.connection() as connection:
            cursor = await connection.execute(_LOAD, (tenant_id, plan_id))
            row = await cursor.fetchone()
        return None if row is None else bytes(row[0])
