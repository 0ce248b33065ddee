"""The arithmetic, compiled by numba: arrays in, arrays out; no Dask, no zarr, no classes of mrdist.

======================  ============================================================================
apart                   kernels compiled by another process, so that those that work hold what is planned
lanes                   vector primitives of the inner loops, and the features of the processor
dot_products            exact integer products, images in the loop and pixels in the lanes
interleaving            images as lanes of four bytes
accumulation            sums over images, tile by tile
lanes_strict            inner loops of the solvers: one fixed order of operations, whatever the processor
systems                 a pixel's system from its sums, and its training error
lanes_tridiagonal       inner loops of the tridiagonalisation
tridiagonal             one factorisation for many penalties
lanes_synthesis         weights times windows
shares                  values of any range as fixed-point shares of it
warping                 displacements from points of control, and images looked up where they point
======================  ============================================================================
"""
