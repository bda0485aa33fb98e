"""What models without a network make of tiny Shakespeare, in nats per character of the test part.

    python plugins/zoo-text/benchmarks/baselines.py

n-grams: Witten-Bell interpolation (Witten and Bell, The zero-frequency problem, IEEE Transactions
on Information Theory 1991) of the counts of the training part. With c the count of a character
after a context, N their sum and T the number of different ones,

    p_n(character | context) = (c + T p_{n-1}(character | shorter context)) / (N + T)

down to p_0, uniform over the vocabulary. The context of a character reaches back into what is
before the test part. Compressors: the bytes that compressing the known and the test part needs over
those of the known part alone.

The first number is of the training part, which is what models see. The second is of all that comes
before the test part, with the validation part, which has the first scenes of the play with which
the test part starts.
"""

import bz2
import collections
import gzip
import lzma
import math

from zoo_text.data import parts

ORDERS = range(1, 7)  # characters of which a probability depends on all but the last


def main():
    train, validation, test = parts()
    known = train, train + validation
    print("nats per character   train   train and validation")
    for order in ORDERS:
        text = validation[-order:] + test
        nats = [witten_bell(part, text, len(test), order) for part in known]
        print("n-gram of order {}    {:.3f}   {:.3f}".format(order, *nats), flush=True)
    of_parts = [compressors(part, test) for part in known]
    for name in of_parts[0]:
        print("{:18}   {:.3f}   {:.3f}".format(name, *(nats[name] for nats in of_parts)))


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
    """Returns nats per character of the test part by the name of a compressor."""
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
