#!/usr/bin/env python3
"""What the shipped basis of keys and values was fitted to: some documents of each kind that readers are trained on, with their questions.

    make_basis_data.py READER_DATA OUT_DIR

READER_DATA is what make_reader_data.py wrote. Writes OUT_DIR/docs.jsonl and OUT_DIR/questions.jsonl: documents of training questions alone, drawn by a
fixed seed, and all training questions about them. The same arguments give the same bytes.
"""
import collections
import json
import pathlib
import random
import sys

OF_KIND = {"squad": 150, "timeqa": 150, "record": 60, "changelog": 120}


def rows(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def kind_of(document):
    prefixes = {"sqtr": "squad", "tqtr": "timeqa", "record": "record"}
    return prefixes.get(document.split("-")[0], "changelog")


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    source, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    questions = [q for q in rows(source / "questions.jsonl") if q["part"] == "train" and len(q["doc_ids"]) == 1]
    by_kind = collections.defaultdict(set)
    for question in questions:
        by_kind[kind_of(question["doc_ids"][0])].add(question["doc_ids"][0])
    draw = random.Random(0)
    chosen = set()
    for kind, count in OF_KIND.items():
        chosen.update(draw.sample(sorted(by_kind[kind]), count))
    with open(out / "docs.jsonl", "w") as file:
        for document in rows(source / "docs.jsonl"):
            if document["id"] in chosen:
                file.write(json.dumps({key: document[key] for key in ("id", "title", "text")}) + "\n")
    with open(out / "questions.jsonl", "w") as file:
        for question in questions:
            if question["doc_ids"][0] in chosen:
                file.write(json.dumps(question) + "\n")


if __name__ == "__main__":
    main()
