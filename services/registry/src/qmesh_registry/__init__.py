"""Discovery, enrollment, snapshots."""
