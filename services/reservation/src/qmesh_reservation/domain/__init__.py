"""Pure rules: tokens."""
