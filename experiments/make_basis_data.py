#!/usr/bin/env python3
"""What the shipped basis of keys and values was fitted to: some documents of each kind that readers are trained on, with their questions, and news.

    make_basis_data.py READER_DATA REUTERS OUT_DIR

READER_DATA is what make_reader_data.py wrote, REUTERS reuters21578.jsonl.gz. Writes OUT_DIR/docs.jsonl and OUT_DIR/questions.jsonl: documents of training
questions alone, drawn by a fixed seed, and all training questions about them. The same arguments give the same bytes.
"""
import collections
import gzip
import json
import pathlib
import random
import sys

OF_KIND = {"squad": 150, "timeqa": 150, "record": 60, "changelog": 120}
NEWS = 100


def rows(path):
    with (gzip.open(path, "rt") if str(path).endswith(".gz") else open(path)) as file:
        return [json.loads(line) for line in file]


def kind_of(document):
    prefixes = {"sqtr": "squad", "tqtr": "timeqa", "record": "record"}
    return prefixes.get(document.split("-")[0], "changelog")


def main():
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    source, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    questions = [q for q in rows(source / "questions.jsonl") if q["part"] == "train" and len(q["doc_ids"]) == 1]
    by_kind = collections.defaultdict(set)
    for question in questions:
        by_kind[kind_of(question["doc_ids"][0])].add(question["doc_ids"][0])
    draw = random.Random(0)
    chosen = set()
    for kind, count in OF_KIND.items():
        chosen.update(draw.sample(sorted(by_kind[kind]), count))
    news = draw.sample([d for d in rows(sys.argv[2]) if d["text"].strip()], NEWS)
    with open(out / "docs.jsonl", "w") as file:
        for document in [d for d in rows(source / "docs.jsonl") if d["id"] in chosen] + news:
            file.write(json.dumps({key: document[key] for key in ("id", "title", "text")}) + "\n")
    with open(out / "questions.jsonl", "w") as file:
        for question in questions:
            if question["doc_ids"][0] in chosen:
                file.write(json.dumps(question) + "\n")


if __name__ == "__main__":
    main()
