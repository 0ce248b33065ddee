"""Methods that see the whole image: ridge regression, with a kernel, on principal components, and the mean."""
