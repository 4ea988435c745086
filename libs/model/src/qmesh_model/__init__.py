"""Pure vocabulary of the mesh: circuit, plan, lifecycles."""
