"""Make a store: its lease, its progress, and staged images."""
