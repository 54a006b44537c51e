"""Promise 3: the validator accepts every example and nothing else.

What it says of thousands of damaged examples is compared with `oracles.brevo_judge`, which was written
from the definition alone.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from brevo_mutants import damage_parts, damage_tokens, join, single_replacements, solve, split
from facts.brevo import PRESETS, VARIED, key_of, make
from facts.kinds import lists
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.brevo_judge import judge, parse, possible_sizes

from ostraca.tasks.base import Verdicts
from ostraca.tasks.brevo import check, generate_brevo_example, validate_brevo_example
from ostraca.tasks.brevo.generate import generate
from ostraca.tasks.brevo.validate import MESSAGES, _validate, validate
from ostraca.tasks.core.batch import ragged, rows_of

FACTS = ("edges", "depth", "answer_length", "answer_start", "answer_end")
OF_METADATA = {len(MESSAGES) - 3, len(MESSAGES) - 2, len(MESSAGES) - 1}


def batch_of(rows: list[list[int]]) -> pa.RecordBatch:
    """A batch with the column input_ids alone."""
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    values = np.array([token for row in rows for token in row], np.int32)
    return pa.RecordBatch.from_arrays([ragged(values, offsets)], names=["input_ids"])


def verdicts(config: Mapping[str, Any], rows: list[list[int]]) -> Verdicts:
    return validate(batch_of(rows), config)


def assert_same_verdicts(config: Mapping[str, Any], rows: list[list[int]]) -> Verdicts:
    """Validator and judge agree on every row; returns what the validator said."""
    given = verdicts(config, rows)
    for row, tokens in enumerate(rows):
        expected = judge(config, tokens)
        assert bool(given[row]) == expected, f"{given[row]}, the judge says {expected}: {tokens}"
        assert 0 <= given.positions[row] <= len(tokens)
    return given


def tokens_and_metadata(batch: pa.RecordBatch) -> Iterator[tuple[list[int], dict[str, Any]]]:
    for row in rows_of(batch):
        yield row.pop("input_ids"), row


# ---- what is made is valid


@pytest.mark.parametrize("query", ["last", "last_quarter"])
@pytest.mark.parametrize("name", PRESETS)
def test_examples_of_the_presets_are_valid(name: str, query: str) -> None:
    """100,000 examples of each preset as published, 10,000 with the other query, some in test form."""
    for qa, rows in ((False, 95_000 if query == "last" else 8000), (True, 5000 if query == "last" else 2000)):
        config = check({**PRESETS[name], "qa": qa, "query": query})
        key = key_of(config, seed=100)
        for first in range(0, rows, 5000):
            batch = generate(config, key, np.arange(first, min(first + 5000, rows), dtype=np.int64))
            assert validate(batch, config).all_valid


@pytest.mark.parametrize("name", VARIED)
def test_examples_of_varied_configs_are_valid_and_judged_so(name: str) -> None:
    config, batch = make(VARIED[name], 200, seed=101)
    assert validate(batch, config).all_valid
    assert all(judge(config, tokens, **row) for tokens, row in tokens_and_metadata(batch))


@pytest.mark.parametrize("name", [name for name in VARIED if name != "unary words"])
def test_any_order_of_the_ancestors_is_valid(name: str) -> None:
    """Not only the one that was drawn."""
    draw = random.Random(1)
    config, batch = make(VARIED[name], 100, seed=102)
    others, rows = 0, []
    for tokens in lists(batch["input_ids"]):
        edges, query, _ = split(config, tokens.tolist())
        rows.append(join(config, (edges, query, solve(draw, edges, query))))
        others += rows[-1] != tokens.tolist()
    assert verdicts(config, rows).all_valid
    assert others > 0 or config["max_in"] == 1 or config["N"] < 5


# ---- exactly what can be made


def test_exactly_the_strings_that_can_be_made_are_valid() -> None:
    """N = 3: of all lists of up to three edges, queries and answers, 60 are valid, and those are made."""
    config, batch = make({"N": 3}, 6000, seed=103)
    made = {tuple(row.tolist()) for row in lists(batch["input_ids"])}
    names = ([1], [2], [3])
    pairs = list(itertools.product(names, names))
    answers = [list(one) for size in range(4) for one in itertools.product(names, repeat=size)]
    rows = [
        join(config, (list(edges), query, answer))
        for size in range(4)
        for edges in itertools.product(pairs, repeat=size)
        for query in names
        for answer in answers
    ]
    said = verdicts(config, rows)
    valid = {tuple(row) for row, code in zip(rows, said.codes, strict=True) if code == 0}
    assert valid == made
    assert len(valid) == 60


@pytest.mark.parametrize("query", ["last", "last_quarter"])
@pytest.mark.parametrize("qa", [False, True])
def test_exactly_the_graphs_that_can_be_made_are_valid(qa: bool, query: str) -> None:
    """N = 5, max_in = 2: every graph on 1..5 in this order, every query; leaves may be hidden.

    A graph is made where the judge finds a size; that the sizes it finds are right is seen from the law
    (`test_brevo_laws`), whose graphs are exactly these.
    """
    from oracles.brevo_law import graphs, queries

    config = check({"N": 5, "qa": qa, "query": query, "max_in": 2})
    makeable = set()
    for n in (5,) if qa else (3, 4, 5):
        for graph, _ in graphs(n, 2):
            edges = [(a, b) for b, parents in enumerate(graph) for a in parents]
            makeable |= {_shape(edges, asked) for asked in queries(n, query)}
    draw = random.Random(2)
    possible = [(a, b) for b in range(5) for a in range(b)]
    seen, rows, expected = set(), [], []
    for bits in range(1, 1 << len(possible)):
        edges = [edge for place, edge in enumerate(possible) if bits >> place & 1]
        for asked in sorted({b for _, b in edges}):
            words = [([a + 1], [b + 1]) for a, b in edges]
            rows.append(join(config, (words, [asked + 1], solve(draw, words, [asked + 1]))))
            expected.append(_shape(edges, asked) in makeable)
            seen.add(_shape(edges, asked))
    said = assert_same_verdicts(config, rows)
    assert (said.codes == 0).tolist() == expected
    assert makeable <= seen
    assert 20 < sum(expected) < len(expected) / 2


_SHAPES: dict[tuple[Any, ...], Any] = {}


def _shape(edges: list[tuple[int, int]], asked: int) -> Any:
    """The same for two graphs (and a node asked for) that differ in names only."""
    nodes = sorted({node for edge in edges for node in edge})
    rank = {node: place for place, node in enumerate(nodes)}
    key = (tuple(sorted((rank[a], rank[b]) for a, b in edges)), rank[asked])
    if key not in _SHAPES:
        orders = itertools.permutations(range(len(nodes)))
        _SHAPES[key] = min((sorted((o[a], o[b]) for a, b in key[0]), o[key[1]]) for o in orders)
    edges_of, asked_of = _SHAPES[key]
    return tuple(edges_of), asked_of


# ---- damaged tokens


@pytest.mark.parametrize("name", VARIED)
def test_every_replaced_token_is_judged_alike(name: str) -> None:
    """Every token of two examples, replaced by every id in use, its neighbours, and far-off ids."""
    config, batch = make(VARIED[name], 2, seed=104)
    for tokens in lists(batch["input_ids"]):
        assert_same_verdicts(config, [mutant for _, mutant in single_replacements(config, tokens.tolist())])


def test_damaged_examples_are_judged_alike_and_every_reason_occurs() -> None:
    """400 edits of tokens and 800 of whole parts for each config; each verdict equals the judge's.

    All reasons about tokens come up, and thousands of mutants are valid, so the agreement is not idle.
    """
    reasons: set[int] = set()
    valid = 0
    for number, varied in enumerate(VARIED.values()):
        draw = random.Random(number)
        config, batch = make(varied, 60, seed=105)
        originals = [row.tolist() for row in lists(batch["input_ids"])]
        mutants = [damage_tokens(draw, config, draw.choice(originals)) for _ in range(400)]
        mutants += [damage_parts(draw, config, draw.choice(originals)) for _ in range(800)]
        said = assert_same_verdicts(config, mutants)
        reasons |= set(said.codes.tolist())
        valid += int((said.codes == 0).sum())
    assert reasons == set(range(len(MESSAGES))) - OF_METADATA
    assert valid > 2000


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.data())
def test_any_tokens_are_judged_alike(data: st.DataObject) -> None:
    """Hypothesis builds edges, a query and an answer from the nodes of a tiny config."""
    query = data.draw(st.sampled_from(["last", "last_quarter"]))
    config = check({"N": 6, "max_in": 2, "query": query, "qa": data.draw(st.booleans())})
    node = st.sampled_from([[1], [2], [3], [4], [5], [6]])
    edges = data.draw(st.lists(st.tuples(node, node), max_size=8))
    asked = data.draw(node)
    answer = data.draw(st.one_of(st.just(solve(random.Random(0), edges, asked)), st.lists(node, max_size=6)))
    tokens = join(config, (edges, asked, answer))
    assert_same_verdicts(config, [tokens, tokens[1:], tokens[:-1], [*tokens, 9998], []])


def test_a_verdict_does_not_depend_on_the_other_rows() -> None:
    """A row's verdict is its own: alone, after damaged rows, in a slice of a batch."""
    config, batch = make(VARIED["words"], 60, seed=106)
    draw = random.Random(0)
    rows = [damage_parts(draw, config, row.tolist()) for row in lists(batch["input_ids"])]
    together = verdicts(config, rows)
    alone = [verdicts(config, [row]) for row in rows]
    assert together.codes.tolist() == [int(one.codes[0]) for one in alone]
    assert together.positions.tolist() == [int(one.positions[0]) for one in alone]
    assert len(set(together.codes.tolist())) > 3
    sliced = validate(batch_of(rows).slice(11, 13), config)
    assert sliced.codes.tolist() == together.codes[11:24].tolist()
    assert sliced.positions.tolist() == together.positions[11:24].tolist()


def test_another_config_is_noticed() -> None:
    """Examples are valid for their config only."""
    config, batch = make({"N": 12, "query": "last_quarter"}, 300, seed=107)
    tokens = batch.select(["input_ids"])
    for other in (
        {"N": 11},
        {"qa": True},
        {"query": "last"},
        {"max_in": 3},
        {"multi": True},
        {"bos_token_id": 9000},
        {"eos_token_id": 9000},
        {"answer_token_id": 9000},
        {"query_token_id": 9000},
    ):
        assert not validate(tokens, check({"N": 12, "query": "last_quarter", **other})).all_valid, other
    assert validate(tokens, config).all_valid


def test_large_ids_and_partial_words_stay_within_the_table() -> None:
    """Names that no word has (too large, too short, cut off) at every place a node may stand."""
    for varied in ({"N": 5}, VARIED["words"], VARIED["hashed table"], VARIED["long words"]):
        config = check(varied)
        bos, asked, answer = (config[name] for name in ("bos_token_id", "query_token_id", "answer_token_id"))
        for word in ([2**31 - 1], [-(2**31)], [1] * 70, [1, 2**31 - 1], [2**30] * 3, [0], []):
            rows = [
                [bos, *word],
                [bos, asked, *word],
                [bos, asked, *word, answer, *word],
                word,
                [bos, *word * 9],
            ]
            assert (verdicts(config, rows).codes > 0).all()


# ---- damaged metadata


def replaced(batch: pa.RecordBatch, name: str, rows: list[Any]) -> pa.RecordBatch:
    at = batch.schema.get_field_index(name)
    return batch.set_column(at, batch.schema.field(name), pa.array(rows, batch.schema.field(name).type))


@pytest.mark.parametrize("column", [*FACTS, "loss_mask"])
def test_damaged_metadata_is_caught_in_its_row(column: str) -> None:
    """Every small change of a column in one row of four; only that row is invalid, and says why."""
    config, batch = make(VARIED["words"], 4, seed=108)
    given = batch[column].to_pylist()
    for row in range(4):
        value = given[row]
        if column == "loss_mask":
            near = [[*value[:at], 1 - bit, *value[at + 1 :]] for at, bit in enumerate(value)]
            near += [[*value, 0], [*value, 1], value[1:], value[:-1], []]
            swap = [2, 0, *value[2:]]
            near += [swap, [*value[:-2], 2, 0], [*value[:-2], 0, 2]]
        else:
            near = [value - 1, value + 1, 0, -1, 2**31 - 1, -(2**31)]
        for other in near:
            said = validate(replaced(batch, column, [*given[:row], other, *given[row + 1 :]]), config)
            assert np.flatnonzero(said.codes).tolist() == [row], (column, row, other)
            assert column in MESSAGES[said.codes[row]]


@pytest.mark.parametrize("name", VARIED)
def test_n_is_any_number_that_the_tokens_allow(name: str) -> None:
    """Isolated leaves are not shown: every n that some graph of these edges has is accepted, no other."""
    config, batch = make(VARIED[name], 30, seed=109)
    open_ones = 0
    for row, tokens in enumerate(lists(batch["input_ids"])):
        parts = parse(config, tokens.tolist())
        assert parts is not None
        sizes = possible_sizes(config, parts[0], parts[1])
        assert batch["n"][row].as_py() in sizes
        open_ones += len(sizes) > 1
        for n in range(-1, config["N"] + 3):
            said = validate(replaced(batch.slice(row, 1), "n", [n]), config)
            assert said.all_valid == (n in sizes), (n, sizes)
    assert open_ones == 0 if config["qa"] or config["N"] == 3 else open_ones > 0


def test_metadata_is_judged_alike() -> None:
    """A random change of one column, or of tokens, through the one-example API: the judge's verdict."""
    config = check(VARIED["words of the last quarter"])
    draw = random.Random(110)
    agreed = {True: 0, False: 0}
    for index in range(200):
        example = generate_brevo_example(config, seed=110, index=index)
        column = draw.choice([*FACTS, "n", "n", "loss_mask", "labels", "input_ids", None])
        if column in (*FACTS, "n"):
            example[column] += draw.choice((-1, 0, 1))
        elif column is not None:
            example[column][draw.randrange(len(example[column]))] += draw.choice((0, 1))
        if draw.random() < 0.3:
            del example[draw.choice([*FACTS, "n", "loss_mask", "labels"])]
        metadata = {name: value for name, value in example.items() if name != "input_ids"}
        expected = judge(config, example["input_ids"], **metadata)
        assert bool(validate_brevo_example(example, config)) == expected, (column, example)
        agreed[expected] += 1
    assert min(agreed.values()) > 20


def test_one_compiled_kernel_serves_every_batch() -> None:
    """Any subset of columns, a slice, buffers from IPC, words: a further signature would take seconds."""
    config, batch = make({"N": 5}, 5)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    read = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
    for part in (batch, batch.slice(2), read, batch.select(["input_ids"]), batch.select(["input_ids", "n"])):
        assert validate(part, config).all_valid
    for varied in (VARIED["hashed table"], VARIED["long words"], VARIED["other ids"]):
        config, batch = make(varied, 5)
        assert validate(batch, config).all_valid
    assert len(_validate.signatures) == 1
