"""Learned sparsity: LASSO and orthogonal matching pursuit."""
