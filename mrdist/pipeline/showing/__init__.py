"""Show what there is: plots, reports, explanations, and what a store holds."""
