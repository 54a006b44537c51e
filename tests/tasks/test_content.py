"""Content fingerprints: equal exactly where two examples are the same problem in other clothes."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from contents import CROWDED, FAMILIES, batch_of, contents, made
from oracles.content import canonical, fingerprint
from tasks_of_tests import CONFIGS

from ostraca.pipeline.corpus.fingerprint import token_fingerprints
from ostraca.tasks import TASKS, get_task
from ostraca.tasks.core.batch import ragged, unragged
from ostraca.tasks.core.graph_content import _graph_content
from ostraca.tasks.core.mixing import _hash_tokens
from ostraca.tasks.examples import complete_config, generate_batches
from ostraca.tasks.mano.content import _content

ROOT = Path(__file__).resolve().parents[2]
WHO_BREAKS = (
    "Content fingerprints changed: corpora that were built without duplicates can no longer be verified or "
    "added to. Change them only together with a new format of the manifest."
)


@pytest.mark.parametrize("task", CROWDED)
def test_equal_problems_have_equal_fingerprints_and_others_different_ones(task: str) -> None:
    """Over 2,000 examples of each config of a family, where most problems come up many times."""
    known: dict[Any, tuple[int, int]] = {}
    examples, agreeing = 0, 0
    for given in CROWDED[task]:
        config, batch = made(task, given, 2000)
        before = set(known)
        found = zip(batch["input_ids"].to_pylist(), contents(task, config, batch), strict=True)
        forms = set()
        for tokens, got in found:
            form = canonical(task, config, tokens)
            assert known.setdefault(form, got) == got
            forms.add(form)
            examples += 1
        agreeing += len(forms & before)
    assert len(set(known.values())) == len(known)
    assert len(known) < examples / 2
    assert agreeing > 0  # problems of one config that another one has as well


@pytest.mark.parametrize(("task", "place"), FAMILIES)
def test_a_fingerprint_is_what_its_definition_says(task: str, place: int) -> None:
    """SipHash-1-3-128 and sums of it, in plain Python from the canonical form."""
    config, batch = made(task, CROWDED[task][place], 20)
    wanted = [fingerprint(task, canonical(task, config, row)) for row in batch["input_ids"].to_pylist()]
    assert contents(task, config, batch) == wanted


@pytest.mark.parametrize("name", [name for name, (task, _) in CONFIGS.items() if task != "capo"])
def test_larger_examples_too(name: str) -> None:
    task, given = CONFIGS[name]
    config, batch = made(task, given, 20)
    wanted = [fingerprint(task, canonical(task, config, row)) for row in batch["input_ids"].to_pylist()]
    assert contents(task, config, batch) == wanted


DEPO = {"N": 12, "K": 4, "M": 5, "mini_vocab": 5, "min_tlen": 1, "max_tlen": 3}


def depo_tokens(draw: random.Random, edges: list[Any], questions: list[Any]) -> list[int]:
    """Tokens of a Depo example of `DEPO` with these edges and (hop, start)s, in a random order."""

    def tokens_of(word: Any) -> list[int]:
        return [*word[:-1], word[-1] + 5]

    after = dict(edges)
    tokens = [0]
    for one, other in draw.sample(edges, len(edges)):
        tokens += tokens_of(one) + tokens_of(other)
    for hop, start in draw.sample(questions, len(questions)):
        answer = start
        for _ in range(hop):
            answer = after.get(answer, start)
        tokens += [9000 + hop, *tokens_of(start), 9500, *tokens_of(answer)]
    return tokens


def test_depo_edges_and_questions_may_come_in_any_order_and_nothing_may_change() -> None:
    draw = random.Random(0)
    config, batch = made("depo", DEPO, 100)
    for tokens, got in zip(batch["input_ids"].to_pylist(), contents("depo", config, batch), strict=True):
        _, edge_set, question_set = canonical("depo", config, tokens)
        edges, questions = sorted(edge_set), sorted(question_set)
        shuffled = [depo_tokens(draw, edges, questions) for _ in range(5)]
        assert get_task("depo").validate(batch_of(shuffled), config).all_valid
        assert set(contents("depo", config, batch_of(shuffled))) == {got}

        (a, b), (c, d) = draw.sample(edges, 2)
        rest = [edge for edge in edges if edge not in ((a, b), (c, d))]
        hop, start = questions[0]
        others = [
            depo_tokens(draw, [(b, a), (c, d), *rest], questions),  # an edge the other way
            depo_tokens(draw, [(a, d), (c, b), *rest], questions),  # two edges that exchange their ends
            depo_tokens(draw, rest, questions),
            depo_tokens(draw, edges, [(hop % 4 + 1, start), *questions[1:]]),
            depo_tokens(draw, edges, [(hop, dict(edges)[start]), *questions[1:]]),
            depo_tokens(draw, edges, questions[1:]),
        ]
        seen = {canonical("depo", config, row) for row in others}
        there = contents("depo", config, batch_of(others))
        assert len({got, *there}) == 1 + len(seen - {canonical("depo", config, tokens)})


def test_brevo_edges_and_answers_may_come_in_any_order_and_nothing_may_change() -> None:
    draw = random.Random(1)
    config, batch = made("brevo", {"N": 12, "eos_token_id": 10_000}, 100)
    for tokens, got in zip(batch["input_ids"].to_pylist(), contents("brevo", config, batch), strict=True):
        asked = tokens.index(9997)
        edges = [tuple(tokens[at : at + 2]) for at in range(1, asked, 2)]

        def written(edges: list[Any], rest: list[int]) -> list[int]:
            return [9999, *itertools.chain(*draw.sample(edges, len(edges))), 9997, *rest]

        query, answer = tokens[asked + 1], tokens[asked + 3 : -1]
        same = [
            written(edges, [query, 9998, *draw.sample(answer, len(answer)), 10_000]) for _ in range(4)
        ] + [written(edges, [query, 9998])]
        assert set(contents("brevo", config, batch_of(same))) == {got}

        ends = [query, *tokens[asked + 2 :]]
        other_query = next(node for edge in edges for node in edge if node != query)
        (a, b), *rest = edges
        others = [
            written([(b, a), *rest], ends),
            written([*edges, (b, 12 if b != 12 else 11)], ends),
            written(rest, ends),
            written(edges, [other_query, *ends[1:]]),
        ]
        seen = {canonical("brevo", config, row) for row in others} - {canonical("brevo", config, tokens)}
        assert len({got, *contents("brevo", config, batch_of(others))}) == 1 + len(seen)


def test_manos_aliases_do_not_count_and_every_symbol_does() -> None:
    draw = random.Random(2)
    config, batch = made("mano", {"L": 9, "ttype": "asmd"}, 200)
    for tokens, got in zip(batch["input_ids"].to_pylist(), contents("mano", config, batch), strict=True):
        clothes = []
        for _ in range(5):
            operators = [t if t >= 5000 else (t - 1) % 4 + draw.choice((1, 5)) for t in tokens[2:-2]]
            bos, named, ending = 9999 - draw.randrange(2), tokens[1] // 10 * 10, tokens[-2] // 10 * 10 + 4
            named, ending = named + draw.randrange(2), ending + draw.randrange(2)
            clothes.append([bos, named, *operators, ending, tokens[-1]])
        assert get_task("mano").validate(batch_of(clothes), config).all_valid
        assert set(contents("mano", config, batch_of(clothes))) == {got}
        changed = []
        for at in range(2, len(tokens) - 2):
            others = range(5000, 5023) if tokens[at] >= 5000 else range(1, 5)
            same = {tokens[at], tokens[at] - 4}  # an alias is the same operator
            changed += [[*tokens[:at], t, *tokens[at + 1 :]] for t in others if t not in same]
        assert len({got, *contents("mano", config, batch_of(changed))}) == 1 + len(changed)


def test_manos_modulus_counts() -> None:
    """2 * 3 is another question modulo 23 and modulo 29."""
    row = batch_of([[9999, 10, 3, 5002, 5003, 14, 5006]])
    here, there = (get_task("mano").check({"value_mod": modulus}) for modulus in (23, 29))
    assert contents("mano", here, row) != contents("mano", there, row)


def test_every_terminal_of_lano_counts_and_no_bos_or_eos() -> None:
    config, batch = made("lano", {"config_name": "cfg3b"}, 3)
    bare, ends = (get_task("lano").check({"bos": False, "eos": eos}) for eos in (False, True))
    for tokens, got in zip(batch["input_ids"].to_pylist(), contents("lano", config, batch), strict=True):
        assert contents("lano", bare, batch_of([tokens[1:]])) == [got]
        assert contents("lano", ends, batch_of([[*tokens[1:], 4]])) == [got]
        changed = [[*tokens[:at], tokens[at] % 3 + 1, *tokens[at + 1 :]] for at in range(1, len(tokens))]
        changed += [tokens[:-1], [*tokens, 1]]
        assert len({got, *contents("lano", config, batch_of(changed))}) == 1 + len(changed)


def test_different_tasks_never_agree() -> None:
    """Every task starts from its own name: not even the same numbers mean the same."""
    seen: dict[tuple[int, int], str] = {}
    for task, configs in CROWDED.items():
        for given in configs:
            for got in contents(task, *made(task, given, 500)):
                assert seen.setdefault(got, task) == task
    assert set(seen.values()) == set(CROWDED)


@pytest.mark.parametrize("name", [name for name, (task, _) in CONFIGS.items() if task != "capo"])
def test_neither_slices_nor_batches_nor_other_columns_matter(name: str) -> None:
    task, given = CONFIGS[name]
    config = complete_config(get_task(task), given, 3)
    (batch,) = generate_batches(get_task(task), config, 3, "train", 0, 300)
    whole = contents(task, config, batch)
    assert len(set(whole)) > 100
    for start, count in ((0, 300), (7, 20), (299, 1), (7, 0), (300, 0)):
        assert contents(task, config, batch.slice(start, count)) == whole[start : start + count]
    assert contents(task, config, batch.select(["input_ids"])) == whole
    order = np.random.default_rng(0).permutation(300)
    assert contents(task, config, batch.take(pa.array(order))) == [whole[row] for row in order]
    ask = get_task(task).content
    assert ask is not None
    got = ask(batch, config)
    assert (got.dtype, got.shape) == (np.uint64, (300, 2))


def test_two_examples_of_capo_are_the_same_where_their_tokens_are() -> None:
    """The person and the sentences are the text itself."""
    assert get_task("capo").content is None


def near_depo(rows: int) -> tuple[dict[str, Any], pa.RecordBatch]:
    """Three nodes and a question, in `rows` of the ways to name the nodes: ids close to each other."""
    config = get_task("depo").check(
        {"N": 3, "M": 1, "mini_vocab": 300, "max_tlen": 1, "query_token_base": 600, "answer_token_id": 700}
    )
    x, y, z = (
        np.int32(first) + digits.astype(np.int32)
        for first, digits in zip(
            (301, 401, 501), np.unravel_index(np.arange(rows), (100, 100, 100)), strict=True
        )
    )
    bos, query, answer = (np.full(rows, value, np.int32) for value in (0, 601, 700))
    tokens = np.stack([bos, x, y, y, z, z, x, query, x, answer, y], axis=1)
    return config, batch_of_matrix(tokens)


def batch_of_matrix(tokens: np.ndarray[Any, Any]) -> pa.RecordBatch:
    """Rows of equal length."""
    rows, width = tokens.shape
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int32)
    return pa.RecordBatch.from_arrays([ragged(tokens.reshape(-1), offsets)], names=["input_ids"])


def test_a_million_near_identical_problems_are_all_different() -> None:
    """And each 32 bits of a fingerprint collide as often as random ones would: 116 pairs, within 6 sigma."""
    config, batch = near_depo(10**6)
    ask = get_task("depo").content
    assert ask is not None
    lanes = ask(batch, config)
    assert len(np.unique(lanes.view("V16"))) == 10**6
    for word in (*lanes.T, lanes[:, 0] ^ lanes[:, 1], lanes[:, 0] + lanes[:, 1]):
        for half in (word >> np.uint64(32), word & np.uint64(0xFFFFFFFF)):
            values = np.sort(half)
            assert 52 < np.count_nonzero(values[1:] == values[:-1]) < 181


def test_one_changed_name_flips_each_bit_half_of_the_time() -> None:
    config, batch = near_depo(200_000)
    ask = get_task("depo").content
    assert ask is not None
    lanes = ask(batch, config)
    changed = lanes[1:] ^ lanes[:-1]  # the third node's name is the next one, mostly
    bits = np.unpackbits(changed.view(np.uint8), axis=1)
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.007  # 6 sigma
    between = np.unpackbits((changed[:, 0] ^ changed[:, 1]).view(np.uint8).reshape(-1, 8), axis=1)
    assert np.abs(between.mean(axis=0) - 0.5).max() < 0.007


def test_edges_that_exchange_their_ends_never_cancel_out() -> None:
    """Sums over all pairs of edges of few nodes: the same only for the same two edges."""
    config = get_task("brevo").check({"N": 9})
    edges = list(itertools.permutations(range(1, 10), 2))
    pairs = list(itertools.combinations(edges, 2))
    rows = [[9999, *one, *other, 9997, 1, 9998, 9998] for one, other in pairs]
    assert len(set(contents("brevo", config, batch_of(rows)))) == len(pairs)


GOLDEN = {
    "depo": "76dfa800361cb02a27a24ea3bfd0831c",
    "depo-words": "b31bd1865f668c03a3c286f6e706b741",
    "brevo": "387f53d9d17b85009b0764a0ab2260bc",
    "brevo-words": "f6413c8513774dac62babe68d61b0998",
    "mano": "9dbae7690199400acae20ad03e2ea2ce",
    "mano-plain": "fca9f78348d6cdc9b069a33bb25e3b00",
    "lano": "6c62014ffc38d19f3afd8b4293ddd004",
    "lano-eos": "5ac932699ff59332690ddec2794a80f9",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_fingerprints_are_fixed(name: str) -> None:
    """The sums over 50 examples."""
    task, given = CONFIGS[name]
    ask = get_task(task).content
    assert ask is not None
    config, batch = made(task, given, 50)
    total = ask(batch, config).sum(axis=0, dtype=np.uint64)
    assert f"{total[0]:016x}{total[1]:016x}" == GOLDEN[name], WHO_BREAKS


_EITHER_WAY = """
import json, sys
import numba, numpy as np
from contents import CROWDED, batch_of, contents, made
from ostraca.tasks import get_task
from ostraca.tasks.examples import complete_config
assert bool(numba.config.DISABLE_JIT) == json.loads(sys.argv[1])
found = []
draw = np.random.default_rng(0)
for task, configs in CROWDED.items():
    for given in configs:
        config, batch = made(task, given, 20)
        found.append(contents(task, config, batch))
        # What is no example gives some fingerprint, and reads and writes nothing beyond its row.
        pool = np.unique(batch["input_ids"].values)
        wild = [draw.choice(pool, size).tolist() for size in range(40)]
        wild += [row[:draw.integers(len(row) + 1)] for row in batch["input_ids"].to_pylist()]
        found.append(contents(task, config, batch_of(wild)))
print(json.dumps(found))
"""


def test_without_jit_all_is_the_same_and_silent() -> None:
    """Kernels as plain Python are their own reference, and would raise where they leave an array."""
    results = []
    for disabled in (True, False):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _EITHER_WAY, json.dumps(disabled)],
            env={
                **os.environ,
                "NUMBA_DISABLE_JIT": str(int(disabled)),
                "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'tasks'}",
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]


def test_every_kernel_is_compiled_once() -> None:
    """Whatever the task and the config: a second type of some argument would double the first use."""
    for task, configs in CROWDED.items():
        for given in configs:
            config, batch = made(task, given, 3)
            contents(task, config, batch)
            contents(task, config, batch.slice(1, 1))
            token_fingerprints(batch)
    for kernel in (_graph_content, _content, _hash_tokens):
        assert len(kernel.signatures) == 1


@pytest.mark.parametrize("name", CONFIGS)
def test_strata_are_columns_of_integers_with_few_values(name: str) -> None:
    task, given = CONFIGS[name]
    _, batch = made(task, given, 300)
    for label, of_column in get_task(task).strata.items():
        assert label.strip() == label != ""
        data_type = batch.schema.field(of_column).type
        values = unragged(batch[of_column])[0] if pa.types.is_list(data_type) else batch[of_column].to_numpy()
        assert np.issubdtype(values.dtype, np.integer)
        assert len(np.unique(values)) < 1000


def test_every_task_was_thought_of() -> None:
    assert set(TASKS) == {*CROWDED, "capo"}
    assert all(get_task(task).content is not None for task in CROWDED)
    assert all(get_task(task).strata for task in CROWDED)
