"""Judge mappings: scores, comparisons, juries and learning curves."""
