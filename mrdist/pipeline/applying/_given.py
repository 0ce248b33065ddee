"""What a user says of the faces in photographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

#: x and y of the pupils and perhaps of the corners of the mouth, the left one of the photograph first.
Given = Sequence[float]
N_GIVEN = (4, 8)
Faces = Literal["largest", "all"]
FACES: tuple[str, ...] = get_args(Faces)
