"""Users, and what their roles let them do: one table of all routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from mrdist.service.refusals import RefusedError, unauthorized

Role = Literal["read", "train", "admin"]
"""``read`` looks, and applies models; ``train`` also runs jobs; ``admin`` also deletes."""
ROLES: tuple[Role, ...] = get_args(Role)

NEEDED: Mapping[str, Role | None] = {  # by the name of the route; None is for everyone, also without a token
    # pages
    "show_login": None,
    "get_static": None,
    "show_studio": "read",
    "show_train": "read",
    "show_models": "read",
    "show_datasets": "read",
    # the service
    "is_alive": None,
    "is_ready": None,
    "get_metrics": "read",
    "begin_session": None,
    "end_session": None,
    "get_session": "read",
    # datasets and sources
    "list_datasets": "read",
    "get_dataset": "read",
    "list_dataset_rows": "read",
    "get_dataset_picture": "read",
    "list_sources": "read",
    "understand_source": "read",
    "add_photograph": "train",
    "make_dataset": "train",
    "delete_dataset": "admin",
    # jobs
    "list_methods": "read",
    "plan_training": "read",
    "list_jobs": "read",
    "get_job": "read",
    "get_job_blocks": "read",
    "get_job_result": "read",
    "get_job_log": "read",
    "watch_job": "read",
    "submit_job": "train",
    "cancel_job": "train",
    "resume_job": "train",
    "note_job": "train",
    "delete_job": "admin",
    "delete_jobs": "admin",
    # models and comparisons
    "list_models": "read",
    "get_model": "read",
    "get_model_scores": "read",
    "get_model_importance": "read",
    "get_model_intercept": "read",
    "get_model_coefficients": "read",
    "get_model_receptive_field": "read",
    "get_model_face": "read",
    "download_model": "read",
    "synthesize": "read",
    "synthesize_each": "read",
    "delete_model": "admin",
    "list_comparisons": "read",
    "get_comparison": "read",
    "get_comparison_picture": "read",
    "delete_comparison": "admin",
}


@dataclass(frozen=True)
class User:
    """Somebody who may use the service.

    Attributes
    ----------
    name
        None for all who share one token, or need none.
    role
        What they may do.
    digest
        SHA-256 of the token.
    """

    name: str | None
    role: Role
    digest: bytes = field(default=b"", repr=False)


def may(role: Role, needed: Role | None) -> bool:
    """Whether a role is enough where another is needed.

    Examples
    --------
    >>> may("train", "read"), may("train", "train"), may("train", "admin"), may("read", None)
    (True, True, False, True)
    """
    return needed is None or ROLES.index(role) >= ROLES.index(needed)


def check_role(route: str, user: User | None) -> None:
    """Check that somebody may use a route.

    Parameters
    ----------
    route
        Its name.
    user
        Who; None without a token.

    Raises
    ------
    RefusedError
        If not.
    """
    needed = NEEDED[route]
    if needed is None:
        return
    if user is None:
        raise unauthorized("a token is needed")
    if not may(user.role, needed):
        raise RefusedError(
            403,
            f"{user.name} has the role {user.role}, but this needs the role {needed}; ask whoever runs the service "
            "for it.",
        )
