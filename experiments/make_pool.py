#!/usr/bin/env python3
"""A pool of any length for `alluvium select`: sentences of real texts, put together anew by a seed.

    make_pool.py ROWS SEED TEXTS.jsonl.gz...

Writes ROWS JSON lines (id, text) of two to six sentences each to standard output. The same arguments give the same bytes.
"""
import gzip
import json
import random
import re
import sys


def main():
    rows, seed = int(sys.argv[1]), int(sys.argv[2])
    sentences = []
    for path in sys.argv[3:]:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                text = json.loads(line).get("text", "")
                sentences += [part for part in re.split(r"(?<=[.!?])\s+", text) if 20 <= len(part) <= 400]
    draw = random.Random(seed)
    for row in range(rows):
        text = " ".join(draw.choice(sentences) for _ in range(draw.randint(2, 6)))
        sys.stdout.write(json.dumps({"id": f"pool-{row}", "text": text}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
