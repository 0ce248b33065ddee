"""Whether a synthesised face shows the expression, how strongly and how sharply, and is still the same person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError

SIDE = 64
"""Side in pixels to which faces are resized."""

_COMPONENTS = 64
_LUMINANCE = (0.299, 0.587, 0.114)  # Rec. 601
_CELL = 8
_NEAR = 0.03  # of the side: over so much a change is averaged
_CHANGED = 0.4  # of the most that changes

Floats = npt.NDArray[np.floating]


def to_gray(faces: Floats) -> npt.NDArray[np.float32]:
    """Return faces of shape (image, y, x, channel) in grey levels, clipped to 0..1, shape (image, y, x)."""
    weights = np.array(_LUMINANCE if faces.shape[3] == 3 else [1 / faces.shape[3]] * faces.shape[3])
    gray: npt.NDArray[np.float32] = (np.clip(faces, 0, 1) @ weights).astype(np.float32)
    return gray


def describe_faces(faces: Floats) -> npt.NDArray[np.float32]:
    """Return histograms of oriented gradients (Dalal and Triggs, CVPR 2005): 9 directions, cells of 8 x 8 pixels.

    Parameters
    ----------
    faces
        Shape (image, y, x) in grey levels, 0..1, any size; they are resized to `SIDE` x `SIDE`.

    Returns
    -------
    ndarray
        Shape (image, feature).

    Examples
    --------
    >>> describe_faces(np.zeros((2, 80, 80), dtype=np.float32)).shape
    (2, 1764)
    """
    from skimage.feature import hog  # slow to import
    from skimage.transform import resize

    described = [
        hog(
            resize(face, (SIDE, SIDE), anti_aliasing=True),
            orientations=9,
            pixels_per_cell=(_CELL, _CELL),
            cells_per_block=(2, 2),
        )
        for face in faces
    ]
    return np.array(described, dtype=np.float32).reshape(len(faces), -1)


class ExpressionRecognizer:
    """Classifies expressions: logistic regression on descriptions of real faces.

    Parameters
    ----------
    features
        Descriptions of real faces (`describe_faces`), shape (image, feature).
    labels
        Their expressions, at least two different ones.

    Raises
    ------
    DataError
        If there is only one expression.

    Examples
    --------
    >>> recognizer = ExpressionRecognizer(np.array([[0.0], [0.2], [0.8], [1.0]]), ["sad", "sad", "happy", "happy"])
    >>> recognizer.share(np.array([[0.9], [0.1]]), "happy")
    0.5
    """

    def __init__(self, features: Floats, labels: Sequence[str]) -> None:
        from sklearn.linear_model import LogisticRegression  # slow to import
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if len(set(labels)) < 2:
            raise DataError(
                "an expression recogniser needs at least two expressions, got "
                f"{', '.join(set(labels)) or 'none'}; add images of another label."
            )
        self._model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        self._model.fit(features, list(labels))

    def share(self, features: Floats, label: str) -> float:
        """Return the share of faces that are recognised as ``label``."""
        return float(np.mean(self._model.predict(features) == label))


class ExpressionScale:
    """Measures how strongly faces show an expression, on a scale of 0 (the mean source) to 1 (the mean target).

    Nothing in it knows which expression that is: the score is the place along the line between the two means.

    Parameters
    ----------
    source, target
        Descriptions of real faces of both expressions, shapes (image, feature): how strong the movements of a face are,
        or gradients (`describe_faces`).

    Examples
    --------
    >>> scale = ExpressionScale(np.array([[0.0, 0.3], [0.2, 0.1]]), np.array([[0.8, 0.2], [1.0, 0.2]]))
    >>> scale.score(np.array([[0.1, 0.9], [0.5, 0.2], [0.9, 0.2]])).round(3).tolist()
    [0.0, 0.5, 1.0]
    """

    def __init__(self, source: Floats, target: Floats) -> None:
        self._origin = source.mean(axis=0, dtype=np.float64)
        self._way = target.mean(axis=0, dtype=np.float64) - self._origin

    def score(self, features: Floats) -> npt.NDArray[np.float64]:
        """Return the score of every face, shape (image,); 0 where the expressions do not differ."""
        square = float(self._way @ self._way)
        along: npt.NDArray[np.float64] = (features - self._origin) @ self._way
        return along / square if square else np.zeros(len(features))


def changing_region(change: Floats, face: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return where an expression changes a face most, such as the mouth of a smile.

    Parameters
    ----------
    change
        Mean absolute difference of real faces of two expressions in grey levels, shape (y, x).
    face
        Which pixels are face, shape (y, x).

    Returns
    -------
    ndarray
        Shape (y, x): pixels of the face that change by two fifths of the most at least, on average over a Gaussian of
        0.03 sides. Empty if nothing changes.

    Examples
    --------
    >>> change = np.zeros((60, 60))
    >>> change[40:48, 20:40] = 0.3
    >>> region = changing_region(change, np.ones((60, 60), dtype=bool))
    >>> bool(region[44, 30]), bool(region[10, 30])
    (True, False)
    """
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.asarray(change, dtype=np.float64), _NEAR * min(change.shape)) * face
    most = smooth.max(initial=0.0)
    return smooth >= _CHANGED * most if most > 0 else np.zeros(change.shape, dtype=bool)


def sharpness(faces: Floats, region: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the mean magnitude of the gradient (Sobel) of every face in a region.

    Parameters
    ----------
    faces
        Shape (image, y, x) in grey levels.
    region
        Shape (y, x), not empty.

    Examples
    --------
    >>> line = np.repeat([[0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.25, 0.5, 0.25, 0.0]], 5, axis=0).reshape(2, 5, 5)
    >>> sharp, blurred = sharpness(line, np.ones((5, 5), dtype=bool))
    >>> float(round(blurred / sharp, 6))
    0.75
    """
    from scipy.ndimage import sobel

    slopes = [np.hypot(sobel(face, axis=0), sobel(face, axis=1))[region].mean() for face in faces]
    return np.array(slopes, dtype=np.float64)


class IdentityMatcher:
    """Recognises persons: cosine similarity of principal components of descriptions.

    Parameters
    ----------
    features
        Descriptions of training faces (`describe_faces`), shape (image, feature).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> gallery = rng.normal(size=(5, 20))
    >>> matcher = IdentityMatcher(rng.normal(size=(30, 20)))
    >>> matcher.rank_one(gallery + 0.1, list("abcde"), gallery, list("abcde"))
    1.0
    """

    def __init__(self, features: Floats) -> None:
        from sklearn.decomposition import PCA  # slow to import

        n_components = min(_COMPONENTS, len(features) - 1, features.shape[1])
        self._model = PCA(n_components, svd_solver="full").fit(features)

    def rank_one(
        self, probes: Floats, probe_people: npt.ArrayLike, gallery: Floats, gallery_people: npt.ArrayLike
    ) -> float:
        """Return the share of probes whose nearest face of the gallery is of the same person."""
        a, b = (self._model.transform(each) for each in (probes, gallery))
        a, b = (each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (a, b))
        nearest = np.asarray(gallery_people)[np.argmax(a @ b.T, axis=1)]
        return float(np.mean(nearest == np.asarray(probe_people)))
