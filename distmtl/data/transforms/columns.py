"""What transforms say of columns that are not there, or not of the kind they need."""

from collections.abc import Mapping

from distmtl.data.infer import nearest
from distmtl.data.transforms.base import ColumnInfo, InfoKind
from distmtl.errors import ConfigError


def require(columns: Mapping[str, ColumnInfo], name: str, *kinds: InfoKind) -> ColumnInfo:
    """The column of this name, if it is of one of these kinds.

    Raises:
        ConfigError: It is not, or there is none.
    """
    info = columns.get(name)
    if info is None:
        raise ConfigError(f"there is no column '{name}'.", remedy=nearest(name, columns))
    if info.kind not in kinds:
        raise ConfigError(f"column '{name}' is {info.kind}, not {' or '.join(kinds)}.", remedy="Name another column.")
    return info
