"""Sessions of the page: the token is entered once, then a cookie replaces it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mrdist.service.problems import RefusedError, problems
from mrdist.service.security import COOKIE, SESSION_SECONDS, Sessions

router = APIRouter(tags=["session"], prefix="/session", responses=problems())


class Login(BaseModel):
    """The token for a new session."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=1000)


@router.post("", status_code=204)
def begin_session(login: Login, request: Request) -> Response:
    """Begin a session of the page: its cookie replaces the token."""
    sessions: Sessions = request.app.state.sessions
    answer = Response(status_code=204)
    if not sessions.needed:
        return answer
    if not sessions.knows(login.token):
        raise RefusedError(
            401,
            "the token is wrong; enter the token that the service was started with.",
            {"www-authenticate": 'Bearer realm="mrdist"'},
        )
    answer.set_cookie(
        COOKIE,
        sessions.begin(),
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.delete("", status_code=204)
def end_session() -> Response:
    """End the session of the page."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
