"""Reach a store: addresses, filesystems, retries, refusals, and what a place is that is no store."""
