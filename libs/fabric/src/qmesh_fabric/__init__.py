"""The only importer of libp2p: guarded hosts, streams, adverts, enrollment, control, state transfer, bridge.

Importing this package imports no libp2p; `host`, `channel`, `adverts`, `enroll`, `control`, `state` and `overlap` do.
"""

__version__ = "0.1.0"
