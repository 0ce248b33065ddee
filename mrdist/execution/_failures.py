"""What is raised for a task that failed."""

from __future__ import annotations

from mrdist.errors import ExecutionError, MrdistError


def failure(error: BaseException, what: str) -> MrdistError:
    """Return the error to raise for a task that failed."""
    if isinstance(error, MrdistError):
        return error
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "mrdist":
        return ExecutionError(
            f"a worker cannot import its task ({error}); install the same mrdist wherever workers run."
        )
    wrapped = ExecutionError(
        f"{what} failed with {type(error).__name__} ({error}); fix that and repeat the command: what is finished is "
        "kept."
    )
    wrapped.__cause__ = error
    return wrapped
