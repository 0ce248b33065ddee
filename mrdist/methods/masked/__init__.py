"""Masked regression: every output pixel looks at the input pixels of its receptive field."""
