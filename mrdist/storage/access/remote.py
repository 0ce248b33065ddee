"""Remote stores: how they are opened, and what their refusals mean.

The answer of an object store or of its client becomes one sentence that says what to do. It holds no secret, neither of
a URL nor of the message of a library.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec

from mrdist.arguments import Address
from mrdist.errors import MrdistError, StoreError
from mrdist.storage.access.retries import code_of, codes_of, expect_another_store, may_pass, patiently

StorageOptions = Mapping[str, Any] | None

CONNECTIONS = 32
"""Most requests to one store that a process has under way at once."""
_CONNECT_SECONDS = 5
_READ_SECONDS = 15  # without a byte
_LONGEST_REASON = 300
_S3 = ("s3://", "s3a://")
_CREDENTIALS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or storage_options"
_KEYS = f"check the credentials ({_CREDENTIALS})"
_REGION = "name the bucket's region in AWS_DEFAULT_REGION, and its endpoint in AWS_ENDPOINT_URL if it has another"

# What is wrong and what to do, by the code of an answer or the name of a client's exception.
_REFUSALS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("InvalidAccessKeyId", "NotSignedUp", "InvalidClientTokenId"), ("the store does not know the access key", _KEYS)
    ),
    "SignatureDoesNotMatch": ("the secret key does not match the access key", _KEYS),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "UnauthorizedSSOTokenError"),
        ("the session token has expired", "sign in again or renew the credentials, then repeat the command"),
    ),
    **dict.fromkeys(("InvalidToken", "InvalidSecurity"), ("the session token is not valid", _KEYS)),
    **dict.fromkeys(
        ("RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"),
        ("this machine's clock differs too much from the store's", "set this clock, best by NTP"),
    ),
    **dict.fromkeys(
        (
            *("PermanentRedirect", "TemporaryRedirect", "Redirect", "301", "307"),
            *("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "InvalidRegionError"),
        ),
        ("the bucket is in another region", _REGION),
    ),
    "NoRegionError": ("no region is set", _REGION),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"),
        ("access is denied", f"ask for the permission, or {_KEYS}"),
    ),
    **dict.fromkeys(
        ("MethodNotAllowed", "405", "NotImplemented", "501"),
        ("the store does not allow this request", "check the address"),
    ),
    **dict.fromkeys(
        ("InvalidBucketName", "ParamValidationError"), ("the name of the bucket is not valid", "check the address")
    ),
    "NoCredentialsError": (
        "no credentials are set",
        f"set {_CREDENTIALS}; for a public bucket, storage_options={{'anon': True}}",
    ),
    **dict.fromkeys(
        ("PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError", "SSOTokenLoadError"),
        ("the credentials are not complete or could not be fetched", _KEYS),
    ),
    **dict.fromkeys(
        ("ProfileNotFound", "ConfigNotFound", "ConfigParseError", "InvalidConfigError"),
        ("the AWS configuration cannot be used", "check AWS_PROFILE and AWS_CONFIG_FILE"),
    ),
    **dict.fromkeys(
        ("SSLError", "ClientConnectorSSLError", "ClientConnectorCertificateError"),
        (
            "no secure connection can be made",
            "check the endpoint, and set AWS_CA_BUNDLE to the file of its certificate authority",
        ),
    ),
    **dict.fromkeys(
        ("EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError", "ClientConnectorDNSError"),
        ("no server answers there", "check the address, the endpoint (AWS_ENDPOINT_URL) and the network"),
    ),
    "400": ("the request is not accepted", _REGION),
    **dict.fromkeys(
        ("ReadTimeoutError", "FSTimeoutError", "ServerTimeoutError", "SocketTimeoutError"),
        ("it does not answer in time", "check the endpoint and the network, then repeat the command"),
    ),
}
_environments: list[dict[str, str]] = []  # the settings of AWS that filesystems were made with
_CLIENTS = ("aiobotocore", "aiohttp", "botocore")  # libraries whose errors are no OSErrors
_VAGUE = {"301", "400", "403", "404"}  # all that answers to HEAD say


def is_local(url: str) -> bool:
    """Whether ``url`` names a file of this machine."""
    return "://" not in url or url.startswith("file://")


def normalize_url(url: Address) -> str:
    """Return the URL without a trailing slash; a local one as an absolute path, valid in any process.

    Examples
    --------
    >>> normalize_url("s3://bucket/faces.zarr/")
    's3://bucket/faces.zarr'
    """
    url = os.fspath(url)
    if is_local(url):
        return str(Path(url.removeprefix("file://")).absolute())
    return url.rstrip("/")


def redact(url: str) -> str:
    """Return the URL without user name, password and query, fit for manifests and messages.

    Examples
    --------
    >>> redact("https://user:secret@host/faces.zarr?token=1")
    'https://host/faces.zarr'
    """
    if is_local(url):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def redact_text(text: str) -> str:
    """Return the message of a library with all URLs in it redacted.

    Examples
    --------
    >>> redact_text("404, message='Not Found', url='https://user:secret@host/faces.zarr?token=1'")
    "404, message='Not Found', url='https://host/faces.zarr'"
    """
    return re.sub(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)]+", lambda match: redact(match[0]), text)


def open_filesystem(url: str, options: StorageOptions, *, asynchronous: bool = False) -> tuple[Any, str]:
    """Return the filesystem of a URL that is not local, and the path in it.

    Listings are never cached, and the filesystem retries nothing by itself: see
    `mrdist.storage.access.retries`.

    Raises
    ------
    StoreError
        If fsspec does not know the protocol, or the URL holds a part that its filesystem would ignore.
    """
    chosen: dict[str, Any] = {"use_listings_cache": False, **(options or {})}
    if asynchronous:
        chosen["asynchronous"] = True
    if url.startswith(_S3):
        if urlsplit(url).netloc.rpartition("@")[1]:
            raise StoreError(
                f"{redact(url)} has a key in the address, but s3 addresses must not hold keys; set {_CREDENTIALS}."
            )
        chosen.setdefault("max_concurrency", 1)  # for one object: with more, every read would first ask for its size
        given = chosen.get("config_kwargs", {})
        chosen["config_kwargs"] = {
            "max_pool_connections": CONNECTIONS,
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
            "retries": {"total_max_attempts": 1},
            "user_agent": _user_agent(),  # all of it: botocore would compose one anew for every request
            **given,
        }
    _keep_requests_from_logs()
    try:
        filesystem, path = fsspec.url_to_fs(normalize_url(url), **chosen)
    except (ImportError, ValueError) as error:
        raise StoreError(
            f"{redact(url)} cannot be opened ({redact_text(str(error)).rstrip('.')}); use a path or a URL that "
            "fsspec supports."
        ) from shown(error, url)
    if url.startswith(_S3):
        filesystem.retries = 1
    return filesystem, path


def _user_agent() -> str:
    """Return what requests call us: another name after each change of a setting of AWS in the environment.

    fsspec keeps a filesystem by its options alone (2026.9). In a notebook, an endpoint or a key that is set after a
    refusal would change nothing; with another option it makes a new filesystem.
    """
    settings = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    if settings not in _environments:
        _environments.append(settings)
        expect_another_store()
    return f"mrdist environment/{_environments.index(settings)}"


def filesystem_of(url: str, options: StorageOptions) -> tuple[Any, str]:
    """Return the filesystem of any URL and the path in it; see `open_filesystem`."""
    if is_local(url):
        return fsspec.url_to_fs(normalize_url(url), **(options or {}))  # type: ignore[no-any-return]
    return open_filesystem(url, options)


def open_stream(url: str, options: StorageOptions, **how: Any) -> Any:
    """Open a file for reading; later reads of its parts are retried as well."""
    filesystem, path = filesystem_of(url, options)
    stream = patiently(lambda: filesystem.open(path, "rb", **how))
    cache: Any = getattr(stream, "cache", None)
    if hasattr(cache, "fetcher"):
        fetch = cache.fetcher
        cache.fetcher = lambda start, end: patiently(lambda: fetch(start, end))
    return stream


def _keep_requests_from_logs() -> None:
    """Keep the clients from logging requests, which hold keys and tokens, at any log level."""
    for name in ("botocore", "aiobotocore", "fsspec"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)


@contextlib.contextmanager
def asking_bucket(url: str, options: StorageOptions) -> Iterator[None]:
    """Ask the bucket for the reason if an answer gives none, or if nothing is there.

    For the first contact with a store: later requests have passed this.

    Raises
    ------
    StoreError
        If the bucket refuses. Other exceptions pass.
    """
    try:
        yield
    except Exception as error:
        if not url.startswith(_S3) or isinstance(error, MrdistError):
            raise
        if not isinstance(error, FileNotFoundError) and code_of(error) not in _VAGUE:
            raise
        answer = _bucket_error(url, options)
        sentence = None if answer is None else refusal(url, answer)
        if sentence is None:
            raise
        raise StoreError(sentence) from shown(error, url)


def _bucket_error(url: str, options: StorageOptions) -> Exception | None:
    """Return what a bucket answers to a listing of one name, None if it answers as it should.

    Unlike the answers for one object, this one says that a bucket does not exist, or why it refuses.
    """
    filesystem, _ = open_filesystem(url, options)
    bucket = urlsplit(url).netloc
    try:
        patiently(lambda: filesystem.call_s3("list_objects_v2", Bucket=bucket, MaxKeys=1))
    except Exception as error:
        return error
    return None


def refusal(url: str, error: BaseException) -> str | None:
    """Return the sentence for an error of a store or its client, None if it is not a known refusal."""
    codes = codes_of(error)
    if "NoSuchBucket" in codes:
        return (
            f"there is no bucket {urlsplit(url).netloc} ({redact(url)}); make it, or check its name and the endpoint "
            "(AWS_ENDPOINT_URL)."
        )
    for code, (wrong, advice) in _REFUSALS.items():
        if code in codes:
            return f"{redact(url)} cannot be reached or used: {wrong} ({_reason(error)}); {advice}."
    if may_pass(error):
        return (
            f"{redact(url)} cannot be read or written, even after many tries ({_reason(error)}); repeat the "
            "command when the store works again: what is finished is kept."
        )
    if isinstance(error, OSError):
        return None
    if type(error).__module__.partition(".")[0] in _CLIENTS or "Invalid endpoint" in str(error):
        return (
            f"{redact(url)} cannot be reached ({_reason(error)}); check the address, the endpoint and the credentials."
        )
    return None


def _reason(error: BaseException) -> str:
    """Return the message of the innermost cause, on one line."""
    said = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if isinstance(said, dict) and said.get("Error", {}).get("Message"):
        text = f"{said['Error'].get('Code')}: {said['Error']['Message']}"
    else:
        text = str(error) or type(error).__name__
    text = redact_text(" ".join(text.split()))
    return (text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}...").rstrip(".")


def shown(error: BaseException, url: str) -> BaseException | None:
    """Return the cause to show in a traceback: none where it may repeat a URL that holds a secret."""
    return error if redact(url) == url else None


def told(error: OSError) -> str:
    """Return the message of an OSError, for the middle of a sentence."""
    return redact_text(error.strerror or str(error) or type(error).__name__).rstrip(".")
