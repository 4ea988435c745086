"""Durable jobs and the execution of plans."""
