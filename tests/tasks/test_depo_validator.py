"""Promise 3, what is true of Depo only: its graphs, its mask of many answers, the reason of a wrong one."""

from __future__ import annotations

from facts.depo import make
from facts.kinds import lists, replaced
from mutants import MUTANTS
from mutants.depo import join, split

from ostraca.tasks.depo import check
from ostraca.tasks.depo.validate import MESSAGES, validate

MASK_CODE = next(code for code, text in enumerate(MESSAGES) if text.startswith("loss_mask"))


def test_every_graph_of_three_nodes_is_judged_alike() -> None:
    """All 3^6 lists of three edges over three names; 12 are cycles (two cycles, 3! orders)."""
    config = check({"N": 3, "K": 1, "M": 1, "mini_vocab": 3, "max_tlen": 1})
    names = ([4], [5], [6])
    rows = []
    for code in range(3**6):
        ends = [names[code // 3**place % 3] for place in range(6)]
        edges = list(zip(ends[::2], ends[1::2], strict=True))
        rows += [join(config, (edges, [(1, start, answer)])) for start in names for answer in names]
    said = MUTANTS["depo"].assert_judged_alike(config, rows)
    assert (said.codes == 0).sum() == 2 * 6 * 3


def test_a_mask_with_the_right_sum_in_the_wrong_place_is_caught() -> None:
    """Moved ones, a 2 beside a 0, and 256 ones too many (a sum that would wrap in 8 bits)."""
    config, batch = make({"N": 225, "qa": True}, 2, seed=109)
    good = batch["loss_mask"].to_pylist()
    ones = [place for place, bit in enumerate(good[0]) if bit]
    zeros = [place for place, bit in enumerate(good[0]) if not bit]
    for change in (
        {ones[0]: 0, zeros[0]: 1},
        {ones[0]: 2, ones[1]: 0},
        {ones[-1]: 0, zeros[-1]: 1},
        {zeros[3]: 255, zeros[5]: 1},
        {zeros[0]: 2},
        {zeros[7]: 128, zeros[9]: 128},
        dict.fromkeys(zeros[:256], 1),
    ):
        mask = [change.get(place, bit) for place, bit in enumerate(good[0])]
        said = validate(replaced(batch, "loss_mask", [mask, good[1]]), config)
        assert said.codes.tolist() == [MASK_CODE, 0]


def test_a_verdict_says_that_an_answer_is_another_node() -> None:
    config, batch = make({"N": 5}, 3)
    tokens = [row.tolist() for row in lists(batch["input_ids"])]
    edges, questions = split(config, tokens[1])
    hop, start, answer = questions[0]
    questions[0] = (hop, start, start if answer != start else edges[0][0])
    said = MUTANTS["depo"].verdicts(config, [tokens[0], join(config, (edges, questions)), tokens[2]])
    assert not said.all_valid
    assert [bool(said[row]) for row in range(3)] == [True, False, True]
    row, result = said.first_invalid()
    assert row == 1
    assert "answer" in str(result)
    assert f"at token {said.positions[1]}" in str(result)
