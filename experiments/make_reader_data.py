#!/usr/bin/env python3
"""What readers from version 4 on are trained on: questions about encyclopedia passages, spans of years, package changelogs and made records.

    make_reader_data.py SQUAD_DIR TIMEQA_DIR OUT_DIR [SQUAD_TRAIN_DOCUMENTS [CHANGELOGS_DIR [RECORDS]]]

Writes OUT_DIR/docs.jsonl and OUT_DIR/questions.jsonl. A question's field "part" is train, validation or held_out:
SQuAD      train and validation from the splits qa_lt and qa_lt_val, so many documents with all their questions, drawn by a fixed seed;
TimeQA     by article: 0 to 199 train, 200 to 229 validation, 230 and later held_out; questions without an answer are left out.
Changelogs (a folder like /usr/share/doc) by source package: held_out those with one of the 300 newest entries, which the demo publishes,
           of the others a twentieth validation and the rest train.
Records    (made_records.py) a twelfth validation and the rest train; each is followed by the beginning of a passage of SQuAD's qa_lt.
The same arguments give the same bytes.
"""
import email.utils
import gzip
import hashlib
import json
import os
import pathlib
import random
import re
import sys

import made_records

SQUAD_VALIDATION_DOCUMENTS = 60
TIMEQA_TRAIN_ARTICLES = 200
TIMEQA_VALIDATION_ARTICLES = 30
CHANGELOG_DOCUMENTS = 1500  # drawn from the training packages
CHANGELOG_NEWEST = 300
CHANGELOG_BYTES = 1600  # longest entry used

# What is asked about an entry, by the fact that answers it. The answer stands in the entry as it is given here.
CHANGELOG_QUESTIONS = {
    "uploader": ["Who uploaded version {version} of {source}?", "What is the name of the maintainer who uploaded {source} {version}?",
                 "By whom was {source} version {version} uploaded?", "Which person signed the upload of {source} {version}?"],
    "date": ["On what date was version {version} of {source} uploaded?", "When was {source} {version} uploaded?",
             "On which day was {source} version {version} released?", "What is the upload date of {source} {version}?"],
    "distribution": ["To which distribution was version {version} of {source} uploaded?",
                     "Which distribution did {source} {version} go to?"],
    "urgency": ["With which urgency was version {version} of {source} uploaded?", "How urgent was the upload of {source} {version}?"],
    "bug": ["Which version of {source} closed bug #{bug}?", "In which version of {source} was bug #{bug} fixed?"],
    "cve": ["Which version of {source} has the changelog entry for {cve}?", "Which version of {source} fixed {cve}?"],
}
HEADER = re.compile(r"([a-z0-9][a-z0-9+.-]*) \(([^() ]+)\) ([^;]+);.*?urgency=(\w+)", re.IGNORECASE)
TRAILER = re.compile(r" -- (.+?) <[^>]*>  (.+)")


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


def entries(path):
    """The entries of a changelog: source, version, header's fields, uploader, day as it is written, text."""
    try:
        text = gzip.decompress(path.read_bytes()).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return
    for part in re.split(r"\n(?=\S)", text):
        header, trailer = HEADER.match(part), TRAILER.search(part)
        moment = email.utils.parsedate_tz(trailer[2]) if header and trailer else None
        day = re.search(r"\d{1,2} \w{3} \d{4}", trailer[2]) if moment and moment[9] is not None else None
        if day and "binary-only=yes" not in part and len(part) <= CHANGELOG_BYTES:
            yield {"source": header[1], "version": header[2], "distribution": header[3], "urgency": header[4], "uploader": trailer[1],
                   "date": day[0], "time": email.utils.mktime_tz(moment), "text": part.rstrip(),
                   "bug": re.findall(r"closes:\s*(?:bug)?\s*#?(\d{4,})", part, re.IGNORECASE),
                   "cve": re.findall(r"CVE-\d{4}-\d{4,7}", part)}


def changelogs(directory):
    draw = random.Random(0)
    found = {}
    for path in sorted(pathlib.Path(directory).glob("*/changelog*.gz")):
        if not path.parent.name.startswith("linux-"):
            for entry in entries(path):
                found.setdefault((entry["source"], entry["version"]), entry)
    newest = sorted(found.values(), key=lambda entry: entry["time"])[-CHANGELOG_NEWEST:]
    held_out = {entry["source"] for entry in newest}
    train = [entry for entry in found.values() if entry["source"] not in held_out]
    kept = draw.sample(train, min(CHANGELOG_DOCUMENTS, len(train))) + newest
    for entry in sorted(kept, key=lambda entry: (entry["source"], entry["version"])):
        part = ("held_out" if entry["source"] in held_out else
                "validation" if hashlib.sha256(entry["source"].encode()).digest()[0] < 13 else "train")
        kinds = [kind for kind in ("bug", "cve") if entry[kind]]
        kinds += draw.sample(["uploader", "date", "uploader", "date", "distribution", "urgency"], 2 - len(kinds[:1]))
        asked = []
        for kind in dict.fromkeys(kinds):
            fields = {**entry, "bug": (entry["bug"] or [""])[0], "cve": (entry["cve"] or [""])[0]}
            asked.append((part, {
                "id": f"{entry['source']}/{entry['version']}/{kind}", "doc_id": f"{entry['source']}/{entry['version']}",
                "question": draw.choice(CHANGELOG_QUESTIONS[kind]).format(**fields),
                "answers": [entry["version"] if kind in ("bug", "cve") else entry[kind]]}))
        yield {"id": f"{entry['source']}/{entry['version']}", "title": f"{entry['source']} {entry['version']}", "text": entry["text"]}, asked


def records(squad_directory, count):
    draw = random.Random(0)
    splits = {question["doc_id"]: question["mac_split"] for question in rows(f"{squad_directory}/train.questions.jsonl.gz")}
    remarks = [document["text"] for document in rows(f"{squad_directory}/train.docs.jsonl.gz") if splits.get(document["id"]) == "qa_lt"]
    for number in range(count):
        remark = re.match(r".{0,300}\.(?=\s|$)", draw.choice(remarks), re.DOTALL)
        document, asked = made_records.record(draw, number, remark[0] if remark else "")
        yield document, [("validation" if number % 12 == 0 else "train", question) for question in asked]


def main():
    squad_directory, timeqa_directory, out = sys.argv[1:4]
    train_documents = int(sys.argv[4]) if len(sys.argv) > 4 else 800
    passages = [*squad(squad_directory, train_documents), *timeqa(timeqa_directory)]
    if len(sys.argv) > 5:
        passages += changelogs(sys.argv[5])
    if len(sys.argv) > 6:
        passages += records(squad_directory, int(sys.argv[6]))
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/docs.jsonl", "w", encoding="utf-8") as documents, \
            open(f"{out}/questions.jsonl", "w", encoding="utf-8") as questions:
        for document, asked in passages:
            kept = {key: document[key] for key in ("id", "title", "text")}
            documents.write(json.dumps(kept, ensure_ascii=False) + "\n")
            for part, question in asked:
                kept = {key: question[key] for key in ("id", "question", "answers")}
                kept["doc_ids"] = question.get("doc_ids") or [question["doc_id"]]
                questions.write(json.dumps({**kept, "part": part}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
