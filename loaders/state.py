"""A stream's state: a step, and what decides the batch at each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..tasks.errors import OstracaError, check_integer, shown

STATE_VERSION = 2


def state_of(step: int, identity: Mapping[str, Any], source: Mapping[str, Any] | None) -> dict[str, Any]:
    """The state of a stream that stands before a step: small, plain values.

    source: what makes its source again, see `Source.recipe`; None where nothing does.
    """
    return {"version": STATE_VERSION, "step": step, "identity": dict(identity), "source": source}


def step_in(state: Any, identity: Mapping[str, Any]) -> int:
    """The step of a state; OstracaError where it is none, or of a stream with another identity."""
    if not isinstance(state, Mapping) or "version" not in state:
        raise OstracaError(f"{shown(state)} is not a stream's state; give what state_dict() returned")
    if state["version"] != STATE_VERSION:
        raise OstracaError(
            f"the stream's state has version {shown(state['version'])}, this ostraca reads {STATE_VERSION}; "
            "resume with the release that wrote it"
        )
    if not isinstance(state.get("identity"), Mapping) or "step" not in state:
        raise OstracaError(f"{shown(state)} is not a stream's state; give what state_dict() returned")
    mine, theirs = _flat(identity), _flat(state["identity"])
    for name in [*mine, *theirs]:
        if mine.get(name) != theirs.get(name):
            raise OstracaError(
                f"the state is of another stream: its {name} is {shown(theirs.get(name))}, this one's is "
                f"{shown(mine.get(name))}; make the stream as it was, or start a new one"
            )
    return check_integer("step", state["step"], 0)


def _flat(identity: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name -> value of all that is in it; names inside of others have these before them."""
    flat: dict[str, Any] = {}
    for name, value in identity.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat
