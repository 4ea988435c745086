"""Credentials from files."""

import grpc

from qmesh_kit.settings import TlsSection


def server_credentials(tls: TlsSection) -> grpc.ServerCredentials:
    """Certificate, key and the CA that clients must have."""
    return grpc.ssl_server_credentials(
        [(tls.key_file.read_bytes(), tls.cert_file.read_bytes())],
        root_certificates=tls.ca_file.read_bytes(),
        require_client_auth=tls.require_client_auth,
    )


def channel_credentials(tls: TlsSection) -> grpc.ChannelCredentials:
    """The CA that servers must have, and our own certificate."""
    return grpc.ssl_channel_credentials(
        root_certificates=tls.ca_file.read_bytes(),
        private_key=tls.key_file.read_bytes(),
        certificate_chain=tls.cert_file.read_bytes(),
    )
