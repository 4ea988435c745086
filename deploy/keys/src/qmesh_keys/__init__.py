"""Keys of a release on Kubernetes: peer identities, signing key, tokens, certificates; made once, never changed."""
