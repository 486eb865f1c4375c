"""What every part's hyperparameter models share.

A choice in the run file (``{kind: temperature, tau: 2.0}``) is a frozen pydantic model that stands in its part's
``specs.py``. Specs import neither torch nor ray; ``build()`` imports the module that does the work.
"""

import importlib
import inspect
import traceback
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from distmtl.errors import ConfigError, DistmtlError

Value = TypeVar("Value")


def by_name(values: dict[str, Value]) -> dict[str, Value]:
    """The mapping in the order of its keys."""
    return dict(sorted(values.items()))


Named = Annotated[dict[str, Value], AfterValidator(by_name)]
"""A mapping by names of the user's choice. It is kept in the order of the names, so that the order in which a run file
lists its sources, tasks and inputs decides nothing."""


class Spec(BaseModel):
    """A frozen set of hyperparameters; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class CustomSpec(Spec):
    """The user's own part: ``{kind: custom, target: my_pkg.mod:Name, args: {...}}``."""

    kind: Literal["custom"] = "custom"
    target: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """Where the class or function is: ``package.module:Name``."""
    args: dict[str, Any] = {}
    """Keyword arguments that it is called with."""

    def build(self, *args: object) -> Any:
        """Call the target with ``args`` and the keyword arguments of the run file.

        Raises:
            ConfigError: The module or the name cannot be imported, or the call does not take these arguments.
        """
        factory = load_target(self.target)
        try:
            inspect.signature(factory).bind(*args, **self.args)
        except TypeError as error:
            raise ConfigError(
                f"'{self.target}' does not take these arguments: {error}.",
                remedy="Compare 'args' with the signature of the class.",
            ) from error
        try:
            return factory(*args, **self.args)
        except DistmtlError:
            raise
        except Exception as error:  # the user's own code may fail in any way
            frame = traceback.extract_tb(error.__traceback__)[-1]
            raise ConfigError(
                f"'{self.target}' failed: {type(error).__name__}: {error}.",
                where=f"{frame.filename}:{frame.lineno}",
                remedy="It was called as docs/custom-parts.md says.",
            ) from error


def load_target(target: str) -> Any:
    """Import ``package.module:Name``.

    Raises:
        ConfigError: The module cannot be found or has no such name.
    """
    module_name, _, name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"cannot import '{module_name}' of target '{target}': {error}.",
            remedy="Put the module beside the run file, in the working folder, or on PYTHONPATH.",
        ) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise ConfigError(
            f"module '{module_name}' has no '{name}'.", remedy="Check the spelling of 'target'."
        ) from error
