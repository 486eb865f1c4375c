"""One run-file section for every balancer, by kind."""

from typing import Any, get_args

from distmtl.balancing.specs import GradientFamilySpec, LossFamilySpec

_FIELDS: dict[str, dict[str, Any]] = {
    "fixed": {"weights": {"a": 2.0}},
    "scheduled": {"points": [{"step": 0, "weights": {"a": 2.0}}, {"step": 9, "weights": {"a": 1.0, "b": 3.0}}]},
    "dwa": {"every": 3},
    "stch": {"warmup_steps": 3},
}


def _section(spec: Any) -> Any:
    kind = spec.model_fields["kind"].default
    return spec(**_FIELDS.get(kind, {}))


EVERY_SPEC: dict[str, Any] = {
    section.kind: section for section in map(_section, (*get_args(LossFamilySpec), *get_args(GradientFamilySpec)))
}
