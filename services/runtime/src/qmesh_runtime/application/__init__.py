"""What the runtime does, over ports."""
