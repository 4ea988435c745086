"""Documents: projections and results that people query, behind one port with two adapters.

The truth is in PostgreSQL; a document store may be away, be dropped and be filled again. See docs/formats/documents.md.
"""

from qmesh_kit.documents.choice import open_documents
from qmesh_kit.documents.collection import (
    BENCHMARK_RESULTS,
    COLLECTIONS,
    PEER_CAPABILITIES,
    PROVENANCE_BUNDLES,
    TOPOLOGY_PROJECTIONS,
    Collection,
    Document,
    Kind,
)
from qmesh_kit.documents.outbox import Entry, Outbox, Relay
from qmesh_kit.documents.store import DocumentStore, Span

__all__ = [
    "BENCHMARK_RESULTS",
    "COLLECTIONS",
    "PEER_CAPABILITIES",
    "PROVENANCE_BUNDLES",
    "TOPOLOGY_PROJECTIONS",
    "Collection",
    "Document",
    "DocumentStore",
    "Entry",
    "Kind",
    "Outbox",
    "Relay",
    "Span",
    "open_documents",
]
