"""What connects the planner to the outside."""
