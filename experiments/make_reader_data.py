#!/usr/bin/env python3
"""What readers from version 4 on are trained on: questions about encyclopedia passages, and questions about spans of years.

    make_reader_data.py SQUAD_DIR TIMEQA_DIR OUT_DIR [SQUAD_TRAIN_DOCUMENTS]

Writes OUT_DIR/docs.jsonl and OUT_DIR/questions.jsonl. A question's field "part" is train, validation or held_out:
SQuAD  train and validation from the splits qa_lt and qa_lt_val, so many documents with all their questions, drawn by a fixed seed;
TimeQA by article: 0 to 199 train, 200 to 229 validation, 230 and later held_out; questions without an answer are left out.
The same arguments give the same bytes.
"""
import gzip
import json
import os
import random
import sys

SQUAD_VALIDATION_DOCUMENTS = 60
TIMEQA_TRAIN_ARTICLES = 200
TIMEQA_VALIDATION_ARTICLES = 30


def rows(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def squad(directory, train_documents):
    draw = random.Random(0)
    documents = {row["id"]: row for row in rows(f"{directory}/train.docs.jsonl.gz")}
    asked = {"qa_lt": {}, "qa_lt_val": {}}
    for question in rows(f"{directory}/train.questions.jsonl.gz"):
        if question["mac_split"] in asked:
            asked[question["mac_split"]].setdefault(question["doc_id"], []).append(question)
    for split, part, count in (("qa_lt", "train", train_documents),
                               ("qa_lt_val", "validation", SQUAD_VALIDATION_DOCUMENTS)):
        for document in draw.sample(sorted(asked[split]), count):
            yield documents[document], [(part, question) for question in asked[split][document]]


def timeqa(directory):
    asked = {}
    for question in rows(f"{directory}/train.questions.jsonl.gz"):
        if question["answers"]:
            article = question["article"]
            part = ("train" if article < TIMEQA_TRAIN_ARTICLES else
                    "validation" if article < TIMEQA_TRAIN_ARTICLES + TIMEQA_VALIDATION_ARTICLES else "held_out")
            asked.setdefault(question["doc_ids"][0], []).append((part, question))
    for document in rows(f"{directory}/train.docs.jsonl.gz"):
        yield document, asked.get(document["id"], [])


def main():
    squad_directory, timeqa_directory, out = sys.argv[1:4]
    train_documents = int(sys.argv[4]) if len(sys.argv) > 4 else 800
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/docs.jsonl", "w", encoding="utf-8") as documents, \
            open(f"{out}/questions.jsonl", "w", encoding="utf-8") as questions:
        for document, asked in [*squad(squad_directory, train_documents), *timeqa(timeqa_directory)]:
            kept = {key: document[key] for key in ("id", "title", "text")}
            documents.write(json.dumps(kept, ensure_ascii=False) + "\n")
            for part, question in asked:
                kept = {key: question[key] for key in ("id", "question", "answers")}
                kept["doc_ids"] = question.get("doc_ids") or [question["doc_id"]]
                questions.write(json.dumps({**kept, "part": part}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
