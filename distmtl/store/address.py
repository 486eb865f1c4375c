"""What a store's URI and keys mean. Pure functions: nothing here touches a store."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from distmtl.errors import StoreError

TEMPORARY = ".tmp-"
"""What the names of unfinished objects begin with. No key may have a part that does."""

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_ALIASES = {"s3a": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az"}
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Address:
    """A parsed URI.

    Attributes:
        scheme: "file", "memory", "s3", "gs", "az", or the scheme of an fsspec file system.
        root: Bucket or container, the name of a memory store, or "".
        path: An absolute folder for "file", else a prefix without slashes at its ends.
    """

    scheme: str
    root: str
    path: str

    @property
    def uri(self) -> str:
        """The URI that parses to this; a folder's is its path."""
        if self.scheme == "file":
            return self.path
        return f"{self.scheme}://{self.root}" + (f"/{self.path}" if self.path else "")

    def at(self, prefix: str) -> "Address":
        """The address of a folder under this one."""
        return Address(self.scheme, self.root, join(self.path, prefix))


def parse_uri(uri: str) -> Address:
    """Parse what a user may write where a store is expected.

    Raises:
        StoreError: The URI is empty, names no bucket, leaves its bucket with "..", or holds a password.
    """
    if not uri.strip():
        raise StoreError("a store's URI is empty.", remedy="Give a folder, or s3://bucket/prefix.")
    if not _SCHEME.match(uri) or "::" in uri:
        return _parse_folder_or_chain(uri)
    parts = urlsplit(uri, allow_fragments=False)
    scheme = _ALIASES.get(parts.scheme, parts.scheme)
    if scheme == "file":
        if parts.netloc not in {"", "localhost"}:
            raise StoreError(
                f"a file URI names the host '{parts.netloc}'.", redact(uri), "Write file:///folder, with three slashes."
            )
        return _folder(unquote(parts.path))
    if scheme not in {"memory", "s3", "gs", "az"}:
        return Address(scheme, parts.netloc, parts.path.strip("/"))
    if "@" in parts.netloc or parts.query:
        raise StoreError(
            "credentials and options do not belong in a store's URI.",
            redact(uri),
            "Give them in the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL ...) and write scheme://bucket/prefix.",
        )
    if scheme != "memory" and not parts.netloc:
        raise StoreError("the URI names no bucket.", uri, f"Write {scheme}://bucket/prefix.")
    path = parts.path.strip("/")
    if path:
        check_key(path, uri)
    return Address(scheme, parts.netloc, path)


def is_remote(uri: str) -> bool:
    """Whether reading what a store's URI names goes over a network, or may."""
    return parse_uri(uri).scheme not in {"file", "memory"}


def _parse_folder_or_chain(uri: str) -> Address:
    chained = "::" in uri and "://" in uri
    return Address("chain", "", uri) if chained else _folder(uri)


def _folder(path: str) -> Address:
    return Address("file", "", str(Path(path).expanduser().absolute()))


def check_key(key: str, where: str = "") -> str:
    """Return a key that cannot leave its store.

    Raises:
        StoreError: The key is empty or absolute, has an empty part or one that is "." or ".." or a temporary name, or
            holds a backslash or a control character.
    """
    parts = key.split("/")
    bad = any(part in {"", ".", ".."} or part.startswith(TEMPORARY) for part in parts)
    if bad or _FORBIDDEN.search(key):
        raise StoreError(
            f"{key!r} is not a key.", where, "A key is 'part/part': relative, no '.', '..', empty or temporary part."
        )
    return key


def check_prefix(prefix: str, where: str = "") -> str:
    """Return a key or "", which is the store itself.

    Raises:
        StoreError: It is neither.
    """
    return check_key(prefix, where) if prefix else ""


def join(prefix: str, key: str) -> str:
    """``key`` under ``prefix``; either may be ""."""
    return f"{prefix}/{key}" if prefix and key else prefix or key


def redact(uri: str) -> str:
    """A URI fit for messages: without user, password and query."""
    return re.sub(r"//[^/@]*@", "//***@", uri).split("?")[0]
