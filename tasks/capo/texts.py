"""Capo in words, for first-time readers."""

from __future__ import annotations

ABOUT = "store knowledge: biographies, each person many times in different words"
COLUMNS = {
    "text": "the paragraph",
    "person": "whose biography it is, a number in the population",
    "exposure": "exposure number of this person, from 0",
    "population": "the seed of the people",
    "value_starts": "first token (of a text: character) of each fact about the person",
    "value_ends": "one past its last",
    "char_starts": "the same places in the text that was encoded, in characters",
    "char_ends": "one past the last",
    "name": "the person's full name",
    "birth_date": "the day on which the person was born, as the text has it",
    "birth_city": "where",
    "university": "where the person studied",
    "major": "what",
    "employer": "the person's employer",
    "work_city": "where, which is the employer's",
    "pronoun": "what later sentences begin with",
}
