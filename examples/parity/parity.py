"""Parity: is the number of ones among some random bits odd?

<bos> b1 ... bn <ans> parity        n uniform in min_bits..max_bits, loss on the parity alone
"""

import numpy as np
import pyarrow as pa

from ostraca.tasks import own

BOS, ANS = 2, 3  # the bits are the ids 0 and 1
KEYS = {
    "min_bits": own.Key(default=8, low=2, high=4096, help="fewest bits"),
    "max_bits": own.Key(default=32, low=2, high=4096, help="most bits"),
    "longest": own.Key(default=False, kind=bool, help="test form: every example has max_bits bits"),
}


def check(given):
    config = own.check_keys("parity", given, KEYS)
    if config["min_bits"] > config["max_bits"]:
        raise own.ConfigError(f"parity: min_bits={config['min_bits']} is over max_bits={config['max_bits']}")
    return config


def sizes(config):
    return range(config["max_bits"] if config["longest"] else config["min_bits"], config["max_bits"] + 1)


def example(config, random):
    n = int(random.integers(sizes(config).start, sizes(config).stop))
    bits = random.integers(2, size=n).tolist()
    parity = sum(bits) % 2
    tokens = [BOS, *bits, ANS, parity]
    return {"input_ids": tokens, "loss_mask": [0] * (n + 2) + [1], "n": n, "parity": parity}


def solve(config, tokens):
    """Shares nothing with `example`: it walks through the tokens and keeps one bit."""
    odd, end = False, len(tokens) - 2
    if end - 1 not in sizes(config) or tokens[0] != BOS or tokens[end] != ANS:
        raise own.Wrong("it is not <bos>, the right number of bits, <ans> and a parity")
    for at in range(1, end):
        if tokens[at] not in (0, 1):
            raise own.Wrong("this is not a bit", at)
        odd = odd != (tokens[at] == 1)
    if tokens[end + 1] != odd:
        raise own.Wrong("this is not the parity", end + 1)
    mask = [int(at > end) for at in range(len(tokens))]
    return {"loss_mask": mask, "n": end - 1, "parity": int(odd)}


def audit(config):
    """Every size equally often, and the parity; neither the size nor the first or last bit tells of it."""

    def tables(batch):
        tokens, offsets = own.unragged(batch.column("input_ids"))
        first, end = offsets[:-1] + 1, offsets[1:] - 2
        found = {"first": tokens[first], "last": tokens[end - 1], "parity": tokens[end + 1]}
        found["n"] = end - first - sizes(config).start
        return {"example": {name: values.astype(np.int64) for name, values in found.items()}}

    columns = {"n": len(sizes(config)), "first": 2, "last": 2, "parity": 2}
    return own.Audit(
        columns={"example": columns},
        tables=tables,
        laws=tuple(own.Law(unit="example", column=each, law=own.uniform(columns[each])) for each in columns),
        pairs=tuple(
            own.Pair(unit="example", feature=each, target="parity") for each in ("n", "first", "last")
        ),
        neighbours=(("example", "parity"),),
    )


SCHEMA = own.example_schema(n=pa.int32(), parity=pa.int32())
TASK = own.Task(
    name="parity",
    version=1,
    keys=KEYS,
    check=check,
    schema=lambda config: SCHEMA,
    generate=own.generate_each(SCHEMA, example),
    validate=own.validate_each(solve),
    max_tokens=lambda config: config["max_bits"] + 3,
    tokens=lambda config: {0: "0", 1: "1", BOS: "<bos>", ANS: "<ans>"},
    about="count modulo two: is the number of ones among n random bits odd?",
    columns={"n": "bits", "parity": "1 where the number of ones is odd, else 0"},
    test_form={"longest": True},
    strata={"bits": "n", "parity": "parity"},
    audit=audit,
)
