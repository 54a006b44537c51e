"""`ostraca random-grammar`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...tasks.core.paths import local_path
from ...tasks.errors import ConfigError, check_path
from ..store.atomic import write_bytes


def run(config: Mapping[str, Any]) -> int:
    """`ostraca random-grammar`: see conf/random-grammar.yaml."""
    from ...tasks.lano import grammar as grammars

    out = local_path(check_path("out", config["out"]))
    if out.exists():
        raise ConfigError(f"out={out}: exists already; choose another file")
    keys = ("depth", "symbols", "rules", "min_length", "max_length", "seed")
    grammar = grammars.random_grammar(**{key: config[key] for key in keys})
    header = "# " + ", ".join(f"{key} {config[key]}" for key in keys)
    write_bytes(out, f"{header}\n{grammar.to_text()}".encode())
    print(
        f"wrote {out}: sentences of {grammar.min_length:,} to {grammar.max_length:,} tokens, "
        f"{grammar.mean_length:,.1f} on average, {grammar.derivation_bits:,.1f} bits each"
    )
    return 0
