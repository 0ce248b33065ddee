"""Benchmarks: ``python -m pytest tests/benchmarks``."""
