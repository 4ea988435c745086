"""Preloaded by the fork server before anything else: how the processes behave that grow up in it.

One thread per worker, because processes give the parallelism; and a signal to the whole group leaves calls in
progress alone, because the front alone decides when they end.
"""

import os
import signal

for _library in ("OMP", "OPENBLAS", "MKL", "RAYON"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
for _number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_number, signal.SIG_IGN)
