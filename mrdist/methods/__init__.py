"""How each method trains."""
