"""Sizes that follow from the shape and the colour mode of the images of a store."""

from __future__ import annotations

from mrdist.geometry import Shape
from mrdist.values import Color, groups_of


class MappedImages:
    """Base of the descriptions of stores, which have these attributes among their own.

    Attributes
    ----------
    color
        As in `mrdist.MaskedRegression`.
    height, width, n_channels
        Of the images.
    """

    color: Color
    height: int
    width: int
    n_channels: int

    @property
    def shape(self) -> Shape:
        """Image height and width in pixels."""
        return self.height, self.width

    @property
    def n_groups(self) -> int:
        """Independent systems a pixel."""
        return groups_of(self.color, self.n_channels)[0]

    @property
    def n_inputs(self) -> int:
        """Channels that each of them sees and predicts."""
        return groups_of(self.color, self.n_channels)[1]

    @property
    def rows_per_image(self) -> int:
        """Rows that an image adds to a regression."""
        return self.n_channels if self.color == "shared" else 1
