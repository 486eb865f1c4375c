"""Clients of object stores, with the credentials, timeouts and retries that all of them use.

Credentials come from the environment or the machine's role, as obstore finds them (``AWS_ACCESS_KEY_ID``,
``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_ACCOUNT_NAME`` ...). Profiles and files under
``~/.aws`` are read by boto3, which the extra ``s3`` installs.
"""

import importlib
import importlib.util
import os
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from distmtl.errors import StoreError
from distmtl.store.address import Address

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config, S3CredentialProvider

Client = AzureStore | GCSStore | MemoryStore | S3Store

CONNECT_TIMEOUT_S = 5
SILENCE_TIMEOUT_S = 30
"""How long one try waits for the next bytes of an answer."""
REQUEST_TIMEOUT_S = 120
"""Of one try as a whole; it moves one block, or a part of :data:`distmtl.store.object_store.PART_BYTES`."""
PATIENCE_S = 180
"""How long a request is tried again after failures that may pass."""
QUICK_RETRIES = 3
"""Tries that obstore makes by itself, within a second; the longer waits are those of ``connection``."""


class Purpose(Enum):
    """What a client is for.

    An upload is silent while its bytes are on their way, for longer than any answer should be on a slow line, and
    cannot be repeated from without once it is under way.
    """

    REQUEST = "request"
    UPLOAD = "upload"


_MEMORY: dict[str, MemoryStore] = {}
_NETWORK_PIDS: set[int] = set()
"""Processes, this one or its ancestors, in which obstore's network threads run: they do not survive a fork."""


def connect(address: Address, purpose: Purpose) -> Client:
    """A client of the bucket, container or memory store that an address names. Sends nothing yet.

    Raises:
        StoreError: The environment asks for what is not installed, or holds a setting that the client refuses; or this
            process was forked from one that already used an object store, where every request would wait for ever.
    """
    if address.scheme != "memory":
        if _NETWORK_PIDS - {os.getpid()}:
            raise StoreError(
                "this process was forked from one that had used an object store.",
                address.uri,
                "Start processes with 'spawn' or 'forkserver', or open the store only after the fork.",
            )
        _NETWORK_PIDS.add(os.getpid())
    try:
        return _connect(address.scheme, address.root, purpose)
    except (BaseError, OSError, ValueError) as error:
        raise StoreError(
            f"the store cannot be opened: {str(error).splitlines()[0]}.",
            address.uri,
            "Check its credentials and settings in the environment.",
        ) from error


def _connect(scheme: str, bucket: str, purpose: Purpose) -> Client:
    match scheme:
        case "memory":
            return _MEMORY.setdefault(bucket, MemoryStore())
        case "s3":
            return _connect_s3(bucket, purpose)
        case "gs":
            return GCSStore(bucket, client_options=_client_options(purpose), retry_config=_retries(purpose))
        case "az":
            return AzureStore(bucket, client_options=_client_options(purpose), retry_config=_retries(purpose))
    raise ValueError(f"'{scheme}' is not an object store")


def _connect_s3(bucket: str, purpose: Purpose) -> S3Store:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    plain = urlsplit(endpoint).scheme == "http"
    config: S3Config = {}
    if not plain and "AWS_UNSIGNED_PAYLOAD" not in os.environ:
        # TLS protects the bytes already; hashing them once more would double the CPU time of an upload.
        config["unsigned_payload"] = True
    return S3Store(
        bucket,
        config=config,
        client_options=_client_options(purpose, allow_http=plain),
        retry_config=_retries(purpose),
        credential_provider=_profile_credentials(),
    )


def _profile_credentials() -> "S3CredentialProvider | None":
    """Credentials that obstore does not find by itself: profiles and files under ``~/.aws``."""
    profile = os.environ.get("AWS_PROFILE")
    files = (
        Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")),
        Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")),
    )
    if "AWS_ACCESS_KEY_ID" in os.environ or not (profile or any(file.expanduser().is_file() for file in files)):
        return None
    if importlib.util.find_spec("boto3") is None:
        if profile is None:
            return None
        raise StoreError(
            f"AWS_PROFILE is '{profile}', and reading profiles needs boto3.",
            remedy="Run: pip install 'distmtl[s3]'. Or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    session: Any = importlib.import_module("boto3").Session()
    if session.get_credentials() is None:
        return None
    provider: S3CredentialProvider = importlib.import_module("obstore.auth.boto3").Boto3CredentialProvider(session)
    return provider


def _client_options(purpose: Purpose, *, allow_http: bool = False) -> "ClientConfig":
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
    }
    if purpose is Purpose.REQUEST:
        options["read_timeout"] = timedelta(seconds=SILENCE_TIMEOUT_S)
    if allow_http:
        options["allow_http"] = True
    return options


def _retries(purpose: Purpose) -> "RetryConfig":
    """Exponential waits, which obstore jitters, so that a thousand workers do not come back at the same instant.

    Its waits grow by half a step on average, so a number of tries bounds no time: eight of them are over in 3 s.
    """
    return {
        "max_retries": QUICK_RETRIES if purpose is Purpose.REQUEST else 1000,
        "retry_timeout": timedelta(seconds=PATIENCE_S),
        "backoff": {
            "init_backoff": timedelta(seconds=0.1),
            "max_backoff": timedelta(seconds=1 if purpose is Purpose.REQUEST else 8),
            "base": 2,
        },
    }
