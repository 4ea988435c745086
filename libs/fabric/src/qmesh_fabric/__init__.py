"""The only importer of libp2p: guarded hosts, streams, bridge."""
