from __future__ import annotations

import numpy as np
import pytest

from mrdist.datasets.synthetic import render_face
from mrdist.errors import DataError
from mrdist.recognition import ExpressionRecognizer, IdentityMatcher, describe_faces, to_gray

LABELS = ("neutral", "happy", "surprised")
PEOPLE = 24


@pytest.fixture(scope="module")
def described():
    """Descriptions of people by label, shape (person, feature)."""
    faces = {label: np.stack([render_face(n, label, 64, color="gray") for n in range(PEOPLE)]) for label in LABELS}
    return {label: describe_faces(to_gray(images / 255)) for label, images in faces.items()}


def test_expressions_of_people_not_trained_on_are_recognised(described):
    train = np.concatenate([described[label][:16] for label in LABELS])
    recognizer = ExpressionRecognizer(train, np.repeat(LABELS, 16))
    for label in LABELS:
        assert recognizer.share(described[label][16:], label) >= 0.8
    assert recognizer.share(described["neutral"][16:], "happy") <= 0.2


def test_people_are_found_again_with_another_expression(described):
    people = [f"person-{n}" for n in range(16, PEOPLE)]
    matcher = IdentityMatcher(np.concatenate([described[label][:16] for label in ("neutral", "happy")]))
    same = matcher.rank_one(described["neutral"][16:], people, described["happy"][16:], people)
    assert same >= 0.8
    one_away = people[1:] + people[:1]
    assert matcher.rank_one(described["neutral"][16:], people, described["happy"][16:], one_away) <= 0.2


def test_descriptions_do_not_depend_on_the_size_of_the_photograph():
    small, large = (to_gray(render_face(0, "happy", size, color="rgb")[None] / 255) for size in (64, 256))
    a, b = describe_faces(small)[0], describe_faces(large)[0]
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.9


def test_one_expression_cannot_be_told_from_nothing(described):
    with pytest.raises(DataError, match=r"at least two expressions, got happy;"):
        ExpressionRecognizer(described["happy"], ["happy"] * PEOPLE)
