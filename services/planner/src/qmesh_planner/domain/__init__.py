"""Pure planning: no clock, no I/O, no randomness."""
