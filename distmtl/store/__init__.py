"""One small interface over folders and object stores: the only place that imports obstore and fsspec."""

from distmtl.store.address import is_remote, parse_uri
from distmtl.store.base import Entry, Store, Writer

__all__ = ["Entry", "Store", "Writer", "is_remote", "open_store"]


def open_store(uri: str) -> Store:
    """Open what a URI names. Nothing is contacted or created before the first operation.

    Args:
        uri: A folder (relative paths are made absolute), ``file://``, ``memory://name`` (shared within one process),
            ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://container/prefix``, or any other scheme that an
            installed fsspec file system knows.

    Raises:
        StoreError: The URI cannot be understood, or nothing that is installed opens its scheme.
    """
    address = parse_uri(uri)
    match address.scheme:
        case "file":
            from distmtl.store.folder_store import FolderStore

            return FolderStore(address.path)
        case "memory" | "s3" | "gs" | "az":
            from distmtl.store.object_store import ObjectStore

            return ObjectStore(address)
        case _:
            from distmtl.store.fsspec_store import FsspecStore

            return FsspecStore(uri)
