"""gRPC servers and channels of the mesh: deadlines, typed errors, trace context, TLS files."""

from qmesh_kit.rpc.client import RpcChannel
from qmesh_kit.rpc.server import RpcServer

__all__ = ["RpcChannel", "RpcServer"]
