"""A create-only put whose answer is certain even when the store's was not."""

from distmtl.errors import KeyExistsError, KeyMissingError, StoreError
from distmtl.store.base import Store


def claim(store: Store, key: str, body: bytes) -> None:
    """Put an object that nobody else can have put, and learn for certain whether it stands.

    A request whose answer was lost may have taken effect: its retry then finds the key taken, by itself. Reading the
    object back settles it, provided that no other writer ever puts the same body: it must name its writer.

    Args:
        store: Where.
        key: The contested key.
        body: Bytes that only this caller writes.

    Raises:
        KeyExistsError: Another writer holds the key.
        StoreError: The store failed, and the key holds nothing.
    """
    try:
        store.put_new(key, body)
    except StoreError as error:
        try:
            found = store.get(key)
        except KeyMissingError:
            raise error from None
        if found != body:
            raise KeyExistsError(
                f"another writer has put '{key}'.", store.uri, "See its content for who it was."
            ) from error
