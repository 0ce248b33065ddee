"""Statistics stores: sums over images, from which weights are solved."""
