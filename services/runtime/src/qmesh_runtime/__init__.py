"""Durable jobs and the execution of plans.

The runtime owns jobs: it claims them, has them planned and reserved, sends blocks to nodes, records what they
answer, and forms the result. It holds no amplitude while a job runs.
"""

__version__ = "0.1.0"
