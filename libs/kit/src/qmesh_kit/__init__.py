"""Chassis of every process: settings, logs, RPC, bus, SQL, ledger, metrics."""
