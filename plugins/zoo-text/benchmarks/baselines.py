"""Computes baselines for tiny Shakespeare, in nats per character of the test split.

    python plugins/zoo-text/benchmarks/baselines.py

n-grams: Witten-Bell interpolation (Witten and Bell, The zero-frequency problem, IEEE Transactions
on Information Theory 1991) of counts in the training text. With the count c of a character after a
context, the sum N of the counts and the number T of distinct characters,

    p_n(character | context) = (c + T p_{n-1}(character | shorter context)) / (N + T)

down to p_0, which is uniform over the vocabulary. The context of the first test characters is the
end of the validation split. Compressors: the additional bytes for compressing the test split after
the training text.

The first number uses the training split, as models do. The second also uses the validation split,
which contains the first scenes of the play with which the test split starts.
"""

import bz2
import collections
import gzip
import lzma
import math

from zoo_text.data import parts

ORDERS = range(1, 7)  # lengths of n-grams


def main():
    train, validation, test = parts()
    training_texts = train, train + validation
    print("nats per character   train   train and validation")
    for order in ORDERS:
        text = validation[-order:] + test
        nats = [witten_bell(part, text, len(test), order) for part in training_texts]
        print("n-gram of order {}    {:.3f}   {:.3f}".format(order, *nats), flush=True)
    by_text = [compressors(part, test) for part in training_texts]
    for name in by_text[0]:
        print("{:18}   {:.3f}   {:.3f}".format(name, *(nats[name] for nats in by_text)))


def witten_bell(train, text, number, order):
    """Returns -log p of the last characters of a text, in nats per character.

    Args:
      train: str, to count in.
      text: str, at least order - 1 longer than number.
      number: int; characters at the end of text to score.
      order: int; length of the n-grams.
    """
    counts = collections.defaultdict(collections.Counter)  # context -> character -> count
    for size in range(order):
        for end in range(size, len(train)):
            counts[train[end - size : end]][train[end]] += 1
    totals = {context: counter.total() for context, counter in counts.items()}
    nats = 0.0
    for end in range(len(text) - number, len(text)):
        p = 1.0 / len(counts[""])
        for size in range(order):
            context = text[end - size : end]
            if context not in totals:
                break
            distinct = len(counts[context])
            count = counts[context][text[end]]
            p = (count + distinct * p) / (totals[context] + distinct)
        nats -= math.log(p)
    return nats / number


def compressors(train, test):
    """Returns {compressor: nats per character of the test split}."""
    functions = {
        "gzip": lambda data: gzip.compress(data, 9),
        "bz2": lambda data: bz2.compress(data, 9),
        "lzma": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
    }
    sizes = {
        name: len(compress((train + test).encode())) - len(compress(train.encode()))
        for name, compress in functions.items()
    }
    return {name: size * 8 * math.log(2) / len(test) for name, size in sizes.items()}


if __name__ == "__main__":
    main()
