"""Sessions of the page: a token is entered once, then a cookie replaces it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mrdist.service.context import UserHere
from mrdist.service.problems import RefusedError, problems
from mrdist.service.roles import Role
from mrdist.service.security import cookie_of, note_user
from mrdist.service.sessions import SESSION_SECONDS, Sessions, cookie_name

router = APIRouter(tags=["session"], prefix="/session", responses=problems())


class Login(BaseModel):
    """The token for a new session."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=1000)


class Session(BaseModel):
    """Who uses the service."""

    user: Annotated[str | None, Field(description="Null for all who share one token, or need none.")]
    role: Role


@router.post("", status_code=204)
def begin_session(login: Login, request: Request) -> Response:
    """Begin a session of the page: its cookie replaces the token."""
    sessions: Sessions = request.app.state.sessions
    answer = Response(status_code=204)
    if not sessions.users.needed:
        return answer
    user = sessions.users.of_token(login.token)
    note_user(request.scope, user)
    if user is None:
        raise RefusedError(
            401,
            "the token is wrong; enter yours, or the one that the service was started with.",
            {"www-authenticate": 'Bearer realm="mrdist"'},
        )
    name, secure = _cookie(request)
    cookie, seconds = sessions.begin(user), SESSION_SECONDS
    answer.set_cookie(name, cookie, max_age=seconds, httponly=True, samesite="strict", secure=secure)
    return answer


@router.get("")
def get_session(user: UserHere) -> Session:
    """Return whose token or session this is, and their role."""
    return Session(user=user.name, role=user.role)


@router.delete("", status_code=204)
def end_session(request: Request) -> Response:
    """End the session of the page: its cookie is worth nothing from now on."""
    sessions: Sessions = request.app.state.sessions
    sessions.end(cookie_of(request.headers))
    answer = Response(status_code=204)
    name, secure = _cookie(request)
    answer.delete_cookie(name, httponly=True, samesite="strict", secure=secure)
    return answer


def _cookie(request: Request) -> tuple[str, bool]:
    """Return the name of the cookie, and whether it is for TLS alone.

    The browser names the scheme that it sees in Origin, also behind a proxy that ends TLS.
    """
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    return cookie_name(request.headers["host"]), secure
