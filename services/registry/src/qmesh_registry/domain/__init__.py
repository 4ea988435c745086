"""Pure rules: peers, enrollment, snapshots."""
