"""gRPC servers and channels of the mesh."""

from qmesh_kit.rpc.client import RpcChannel
from qmesh_kit.rpc.server import RpcServer
from qmesh_kit.rpc.watch import follow

__all__ = ["RpcChannel", "RpcServer", "follow"]
