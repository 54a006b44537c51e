"""Small configs of every task, for the tests that all tasks pass."""

from __future__ import annotations

from typing import Any

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "depo": ("depo", {"N": 12, "K": 4, "M": 3}),
    "depo-words": ("depo", {"N": 20, "mini_vocab": 3, "min_tlen": 3, "max_tlen": 4, "separator": True}),
    "brevo": ("brevo", {"N": 12}),
    "brevo-words": ("brevo", {"N": 12, "multi": True, "query": "last_quarter"}),
    "mano": ("mano", {"L": 4}),
    "mano-plain": ("mano", {"L": 3, "ttype": "as", "value_mod": 10, "knowledge_augment": False}),
    "lano": ("lano", {"config_name": "cfg3b"}),
    "lano-eos": ("lano", {"config_name": "cfg3k", "eos": True}),
    "capo": ("capo", {"num_people": 30, "exposures": 20}),
    "capo-text": ("capo", {"num_people": 30, "exposures": 20, "bio": "text", "reverse_md": True}),
    "capo-attributes": ("capo", {"num_people": 30, "exposures": 20, "order": False, "attributes": True}),
}
STREAMED = [name for name in CONFIGS if name != "capo-text"]  # those with token ids
