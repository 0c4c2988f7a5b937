"""Picks questions for the demo out of documents the service holds, and writes a revision of one of them.

    demo_questions.py pick PROGRAM NAMESPACE            five lines: document id, question, what the changelog says (tab-separated)
    demo_questions.py revise PROGRAM NAMESPACE ID NAME  the document as a JSON line, one version higher, uploaded by NAME
"""

import hashlib
import json
import subprocess
import sys

LONGEST_ENTRY = 600  # bytes: short entries hold one fact of each kind


def ask_program(program, *arguments):
    done = subprocess.run([program, "documents", *arguments, "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr.strip() or "documents failed")
    return json.loads(done.stdout)


def questions_of(document):
    """Every question the entry's own facts answer: kind, text, expected answer."""
    facts = document["metadata"]
    name, version = facts["source"], facts["version"]
    trailer_date = document["text"].rsplit(">  ", 1)[-1]
    yield "uploader", f"Who uploaded version {version} of {name}?", facts["uploader"]
    yield "date", f"On what date was version {version} of {name} uploaded?", " ".join(trailer_date.split()[1:4])
    yield "distribution", f"To which distribution was version {version} of {name} uploaded?", facts["distribution"]
    if "closes" in facts:
        bug = facts["closes"].split(",")[0]
        yield "bug", f"Which version of {name} closed bug #{bug}?", version
    if "cve" in facts:
        cve = facts["cve"].split(",")[0]
        yield "cve", f"Which version of {name} has the changelog entry for {cve}?", version


def pick(program, namespace):
    listed = ask_program(program, "list", "--namespace", namespace, "--limit", "0")["documents"]
    short = [row["id"] for row in listed if row["text_bytes"] <= LONGEST_ENTRY]
    short.sort(key=lambda identity: hashlib.sha256(identity.encode()).hexdigest())
    wanted, sources = ["cve", "bug", "uploader", "date", "distribution"], set()
    for identity in short:
        document = ask_program(program, "show", identity, "--namespace", namespace)
        if document["metadata"]["source"] in sources:
            continue
        for kind, question, expected in questions_of(document):
            if kind in wanted:
                wanted.remove(kind)
                sources.add(document["metadata"]["source"])
                print(identity, question, expected, sep="\t")
                break
        if not wanted:
            break


def revise(program, namespace, identity, uploader):
    document = ask_program(program, "show", identity, "--namespace", namespace)
    before = document["metadata"]["uploader"]
    print(json.dumps({
        "id": identity,
        "version": document["version"] + 1,
        "title": document["title"],
        "text": document["text"].replace(before, uploader),
        "valid_from": document["valid_from_us"],
        "metadata": dict(document["metadata"], uploader=uploader),
    }))


if __name__ == "__main__":
    {"pick": pick, "revise": revise}[sys.argv[1]](*sys.argv[2:])
