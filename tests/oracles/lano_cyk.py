"""Slow, plain parsers for Lano: textbook CYK, a brute-force enumerator, exact charts. Python alone.

They know nothing of levels: `cyk` and `Chart` would do for any grammar without cycles of unary rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from oracles.lano import Rules


def judge(config: Mapping[str, Any], rules: Rules, ids: Sequence[int], **metadata: Any) -> bool:
    """Whether the ids are an example of this config, and the metadata (if given) is theirs."""
    sentence = list(ids)
    if config["bos"]:
        if sentence[:1] != [config["bos_token_id"]]:
            return False
        sentence = sentence[1:]
    if config["eos"]:
        if sentence[-1:] != [config["eos_token_id"]]:
            return False
        sentence = sentence[:-1]
    if list(metadata.get("loss_mask", [1] * len(ids))) != [1] * len(ids):
        return False
    if list(metadata.get("labels", ids)) != list(ids):
        return False
    return metadata.get("length", len(sentence)) == len(sentence) and cyk(rules, sentence)


def cyk(rules: Rules, word: Sequence[int]) -> bool:
    """Cocke-Younger-Kasami over the binarised grammar, with unary rules closed over each span.

    Bit j of ends[X][i], and bit i of starts[X][j], say that X spans word[i:j].
    """
    binary: list[tuple[Any, Any, Any]] = []
    unary: list[tuple[Any, Any]] = []
    for left, alternatives in rules.items():
        for number, one in enumerate(alternatives):
            head: Any = one[0]
            for place in range(1, len(one)):
                last = place == len(one) - 1
                made = left if last else (left, number, place)
                binary.append((made, head, one[place]))
                head = made
            if len(one) == 1:
                unary.append((left, head))
    n = len(word)
    ends: dict[Any, list[int]] = {}
    starts: dict[Any, list[int]] = {}

    def add(symbol: Any, i: int, j: int) -> bool:
        mine = ends.setdefault(symbol, [0] * (n + 1))
        new = not mine[i] >> j & 1
        mine[i] |= 1 << j
        starts.setdefault(symbol, [0] * (n + 1))[j] |= 1 << i
        return new

    none = [0] * (n + 1)
    for length in range(1, n + 1):
        for i in range(n - length + 1):
            j = i + length
            if length == 1 and word[i] not in rules:
                add(word[i], i, j)
            for left, first, second in binary:
                if ends.get(first, none)[i] & starts.get(second, none)[j]:
                    add(left, i, j)
            again = True
            while again:
                again = False
                for left, child in unary:
                    if ends.get(child, none)[i] >> j & 1:
                        again |= add(left, i, j)
    return n > 0 and bool(ends.get(next(iter(rules)), none)[0] >> n & 1)


def enumerate_language(rules: Rules) -> tuple[dict[tuple[int, ...], Fraction], Counter[tuple[int, ...]]]:
    """Every sentence's exact probability, and its number of derivations. For tiny grammars only."""

    @cache
    def of(symbol: int) -> tuple[dict[tuple[int, ...], Fraction], Counter[tuple[int, ...]]]:
        if symbol not in rules:
            return {(symbol,): Fraction(1)}, Counter([(symbol,)])
        chances: dict[tuple[int, ...], Fraction] = {}
        counts: Counter[tuple[int, ...]] = Counter()
        for one in rules[symbol]:
            so_far: dict[tuple[int, ...], tuple[Fraction, int]] = {(): (Fraction(1, len(rules[symbol])), 1)}
            for child in one:
                child_chances, child_counts = of(child)
                longer: dict[tuple[int, ...], tuple[Fraction, int]] = {}
                for begun, (chance, count) in so_far.items():
                    for more, times in child_counts.items():
                        before = longer.get(begun + more, (Fraction(0), 0))
                        longer[begun + more] = (
                            before[0] + chance * child_chances[more],
                            before[1] + count * times,
                        )
                so_far = longer
            for made, (chance, count) in so_far.items():
                chances[made] = chances.get(made, Fraction(0)) + chance
                counts[made] += count
        return chances, counts

    return of(next(iter(rules)))


def following(
    language: Mapping[tuple[int, ...], Fraction], prefix: Sequence[int]
) -> dict[int | None, Fraction]:
    """The exact law of what follows a prefix, None being the end; empty where nothing begins with it."""
    begun = tuple(prefix)
    law: dict[int | None, Fraction] = {}
    for sentence, chance in language.items():
        if sentence[: len(begun)] == begun:
            after = sentence[len(begun)] if len(sentence) > len(begun) else None
            law[after] = law.get(after, Fraction(0)) + chance
    total = sum(law.values(), Fraction(0))
    return {after: chance / total for after, chance in law.items()}


class Chart:
    """Weights of spans and prefixes of one word, memoised from the top down.

    `one` is 1 in the numbers to count in (int, Fraction, Decimal); weigh: every rule counts 1 / alternatives,
    else 1.
    """

    def __init__(self, rules: Rules, word: Iterable[int], one: Any, weigh: bool = True) -> None:
        self.rules, self.word, self.one, self.weigh = rules, list(word), one, weigh
        self.start = next(iter(rules))
        self._spans: dict[tuple[int, int], dict[int, Any]] = {}
        self._prefixes: dict[tuple[int, int], Any] = {}

    def spans(self, symbol: int, begin: int) -> dict[int, Any]:
        """end -> weight of all expansions of the symbol to word[begin:end]."""
        if symbol not in self.rules:
            found = begin < len(self.word) and self.word[begin] == symbol
            return {begin + 1: self.one} if found else {}
        known = self._spans.get((symbol, begin))
        if known is None:
            known = {}
            for rule in self.rules[symbol]:
                reached = {begin: self._weight(symbol)}
                for child in rule:
                    reached = self._after(reached, child)
                for end, weight in reached.items():
                    known[end] = known.get(end, 0) + weight
            self._spans[symbol, begin] = known
        return known

    def _weight(self, symbol: int) -> Any:
        return self.one / len(self.rules[symbol]) if self.weigh else self.one

    def _after(self, reached: dict[int, Any], child: int) -> dict[int, Any]:
        after: dict[int, Any] = {}
        for middle, weight in reached.items():
            for end, more in self.spans(child, middle).items():
                after[end] = after.get(end, 0) + weight * more
        return after

    def total(self) -> Any:
        """Weight of the whole word as a sentence."""
        return self.spans(self.start, 0).get(len(self.word), 0 * self.one)

    def prefix(self) -> Any:
        """Weight of all sentences that begin with the word."""
        return self._covers(self.start, 0) if self.word else self.one

    def _covers(self, symbol: int, begin: int) -> Any:
        """Weight of all expansions of the symbol that begin with word[begin:], to its last token."""
        if symbol not in self.rules:
            last = begin == len(self.word) - 1
            return self.one if last and self.word[begin] == symbol else 0 * self.one
        known = self._prefixes.get((symbol, begin))
        if known is None:
            known = 0 * self.one
            for rule in self.rules[symbol]:
                reached = {begin: self._weight(symbol)}
                for child in rule:
                    inner = {at: weight for at, weight in reached.items() if at < len(self.word)}
                    known += sum((w * self._covers(child, at) for at, w in inner.items()), 0 * self.one)
                    reached = self._after(inner, child)
            self._prefixes[symbol, begin] = known
        return known
