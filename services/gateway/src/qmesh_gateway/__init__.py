"""HTTP surface of the mesh: validates, authenticates, delegates; decides nothing."""

__version__ = "0.1.0"
