"""Weights stores: begun, resumed and completed, in three layouts, and their readers."""
