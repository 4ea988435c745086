"""Pure rules of the gateway: documents and problems."""
