"""The regressions that masked regression is compared with: numerics and estimators for images in memory."""
