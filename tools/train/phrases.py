"""Patterns with alternatives in angle brackets, and a quarter of everything held out."""

import random


def expand(pattern):
    """Every choice of the alternatives: "<a|b> c" is "a c" and "b c"."""
    if "<" not in pattern:
        return [" ".join(pattern.split()).replace(" .", ".")]
    before, rest = pattern.split("<", 1)
    alternatives, after = rest.split(">", 1)
    return [x for alternative in alternatives.split("|") for x in expand(before + alternative + after)]


def split(values):
    """[what may be seen in training, what is held out]; of fewer than eight nothing is."""
    values = random.Random(0).sample(values, len(values))
    count = len(values) // 4 if len(values) >= 8 else 0
    return [values[count:], values[:count]]


def split_phrasings(patterns):
    """The same for every expansion of every pattern: [seen, held out][pattern][i]."""
    return [[part for part in parts if part] for parts in zip(*(split(expand(pattern)) for pattern in patterns))]


def invented(rng, words):
    """A word that is in no list: the beginning of one and the end of another."""
    first, last = rng.choice(words).split()[0], rng.choice(words).split()[-1]
    return first[: rng.randint(1, max(1, len(first) - 1))] + last[-rng.randint(1, max(1, len(last) - 1)) :]
