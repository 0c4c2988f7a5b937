#!/usr/bin/env python3
"""Documents with one made-up fact each among plain sentences: does a memory keep what nothing in its surroundings asks for?

    make_needles.py OUT_DIR [COUNT]

Writes OUT_DIR/docs.jsonl and OUT_DIR/questions.jsonl, COUNT of each (200 unless told). A fact is "The code of NAME is NUMBER.", at a place
drawn for each document among 12 sentences. The same arguments give the same bytes.
"""
import json
import os
import random
import sys

PLACES = ["harbour", "library", "observatory", "warehouse", "archive", "station", "workshop", "museum", "laboratory", "garden", "bakery", "theatre"]
KINDS = ["northern", "blue", "old", "upper", "quiet", "second", "eastern", "glass", "stone", "winter", "little", "royal", "open", "hidden", "long"]
SENTENCES = [
    "The {0} was built beside the {1} when the road was moved.", "Visitors to the {0} walk past the {1} before noon.",
    "A committee discussed the roof of the {0} for several months.", "In spring the windows of the {0} are cleaned twice.",
    "The {0} and the {1} share a boiler and a caretaker.", "Nobody remembers why the {0} was painted green.",
    "Deliveries to the {0} arrive in the early morning.", "A small café opened between the {0} and the {1}.",
    "The keeper of the {0} also looks after the {1}.", "During the storm the {0} lost part of its fence.",
    "Students measured the height of the {0} with a string.", "The path from the {0} to the {1} is closed in winter.",
    "Two benches stand in front of the {0}, and one is broken.", "The floor of the {0} was laid by a carpenter from the coast.",
    "The {0} keeps a list of everyone who borrowed an umbrella.", "A photograph of the {0} hangs in the hall of the {1}.",
]


def document(draw, number):
    def name():
        return f"{draw.choice(KINDS)} {draw.choice(PLACES)}"

    asked, code = name(), str(draw.randrange(10000, 100000))
    lines = [sentence.format(name(), name()) for sentence in draw.sample(SENTENCES, 12)]
    lines.insert(draw.randrange(len(lines) + 1), f"The code of the {asked} is {code}.")
    identity = f"needle-{number:04d}"
    return ({"id": identity, "title": "Notes on the town", "text": " ".join(lines)},
            {"id": identity, "doc_id": identity, "question": f"What is the code of the {asked}?", "answers": [code]})


def main():
    out = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    draw = random.Random(0)
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/docs.jsonl", "w", encoding="utf-8") as documents, open(f"{out}/questions.jsonl", "w", encoding="utf-8") as questions:
        for number in range(count):
            made, asked = document(draw, number)
            documents.write(json.dumps(made, ensure_ascii=False) + "\n")
            questions.write(json.dumps(asked, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
