"""What a config says of Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tasks.errors import ConfigError, shown


def ray_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping below `ray`; ConfigError where it is not one."""
    if not isinstance(config["ray"], Mapping):
        raise ConfigError(f"ray={shown(config['ray'])} must be a mapping; set ray.address=...")
    return config["ray"]
