#!/usr/bin/env python3
"""Long documents: the paragraphs of a TimeQA article joined, and questions about it.

    make_articles.py TIMEQA_DIR OUT_DIR [QUESTIONS [FIRST_ARTICLE [WORDS]]]

Writes OUT_DIR/docs.jsonl and OUT_DIR/questions.jsonl: the articles from FIRST_ARTICLE (230: the first that no reader was trained on) that have at
most WORDS (4,000) words, headings between their paragraphs, and QUESTIONS (300) of those that have an answer, drawn by a fixed seed.
The same arguments give the same bytes.
"""
import gzip
import json
import os
import random
import sys


def rows(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def joined(paragraphs):
    lines, section = [], None
    for paragraph in paragraphs:
        if paragraph.get("section") != section:
            section = paragraph.get("section")
            lines += [section] if section else []
        lines.append(paragraph["text"])
    return "\n".join(lines)


def main():
    timeqa, out = sys.argv[1:3]
    count, first, words = (int(number) for number in (sys.argv[3:] + ["300", "230", "4000"][len(sys.argv) - 3:]))
    articles = {}
    for paragraph in rows(f"{timeqa}/train.docs.jsonl.gz"):
        if paragraph["article"] >= first:
            articles.setdefault(paragraph["article"], []).append(paragraph)
    texts = {article: joined(paragraphs) for article, paragraphs in articles.items()}
    kept = [article for article, text in texts.items() if len(text.split()) <= words]
    asked = [question for question in rows(f"{timeqa}/train.questions.jsonl.gz") if question["article"] in kept and question["answers"]]
    draw = random.Random(0)
    draw.shuffle(asked)
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/docs.jsonl", "w", encoding="utf-8") as documents, open(f"{out}/questions.jsonl", "w", encoding="utf-8") as questions:
        for article in kept:
            documents.write(json.dumps({"id": f"article-{article}", "title": articles[article][0]["title"], "text": texts[article]}) + "\n")
        for question in asked[:count]:
            row = {key: question[key] for key in ("id", "question", "answers")}
            questions.write(json.dumps({**row, "doc_id": f"article-{question['article']}"}) + "\n")


if __name__ == "__main__":
    main()
