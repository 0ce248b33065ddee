"""Pictures of faces, weights and scores as matplotlib Axes."""

from mrdist.plotting.comparison import plot_errors, plot_field_sizes, plot_learning_curve, plot_sizes
from mrdist.plotting.cross_validation import plot_cv
from mrdist.plotting.explaining import plot_fields_beside, plot_maps, plot_mask, plot_reach
from mrdist.plotting.pictures import plot_faces, plot_importance, plot_intercept, plot_receptive_fields

__all__ = [
    "plot_cv",
    "plot_errors",
    "plot_faces",
    "plot_field_sizes",
    "plot_fields_beside",
    "plot_importance",
    "plot_intercept",
    "plot_learning_curve",
    "plot_maps",
    "plot_mask",
    "plot_reach",
    "plot_receptive_fields",
    "plot_sizes",
]
