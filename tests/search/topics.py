"""Passages of a few topics, in each of which another word may say the same."""

import random

TOPICS = {
    "cars": ("car automobile engine wheel driver road brake fuel gear tyre", "vehicle"),
    "sea": ("ship boat harbour sailor wave anchor deck captain cargo tide", "vessel"),
    "law": ("court judge trial verdict jury appeal statute lawyer witness oath", "tribunal"),
    "food": ("bread flour oven baker dough yeast crust butter sugar salt", "loaf"),
}


def about(topic: str, count: int, *, seed: int = 0) -> list[str]:
    """Passages that have words of a topic; each is another one."""
    words, rare = TOPICS[topic]
    draw = random.Random(f"{topic} {seed}")
    return [
        " ".join([*draw.sample(words.split(), 6), *([rare] if number % 3 == 0 else []), f"n{seed}x{number}"])
        for number in range(count)
    ]
