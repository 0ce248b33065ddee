"""Make a store: its lease, its progress, what an earlier run has left, and files written whole."""
