"""HTTP surface of the mesh."""
