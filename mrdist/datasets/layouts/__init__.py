"""Layouts of published datasets and of plain folders: which file shows whom, with which expression."""
