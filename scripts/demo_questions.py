"""Picks questions for the demo out of documents the service holds, and writes a revision of one of them.

    demo_questions.py pick PROGRAM NAMESPACE           lines of kind, document id, question, what the changelog says (tab-separated)
    demo_questions.py revise PROGRAM NAMESPACE ID DAY  the document as a JSON line, one version higher, uploaded on DAY (YYYY-MM-DD)
"""

import datetime
import hashlib
import json
import subprocess
import sys

KINDS = ["uploader", "date", "cve", "bug", "date"]
LONGEST_ENTRY = 400  # bytes: short entries hold one fact of each kind


def documents(program, *arguments):
    done = subprocess.run([program, "documents", *arguments, "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr.strip() or "documents failed")
    return json.loads(done.stdout)


def question(kind, facts):
    """Question and answer of one kind from an entry's own facts; None when it has no such fact."""
    name, version = facts["source"], facts["version"]
    if kind == "uploader":
        return f"What is the name of the person who uploaded {name} version {version}?", facts["uploader"]
    if kind == "date":
        return f"When was {name} {version} uploaded?", facts["date"]
    if kind == "bug" and "closes" in facts:
        return f"Which version of {name} closed bug #{facts['closes'].split(',')[0]}?", version
    if kind == "cve" and "cve" in facts:
        return f"Which version of {name} has the changelog entry for {facts['cve'].split(',')[0]}?", version
    return None


def pick(program, namespace):
    listed = documents(program, "list", "--namespace", namespace, "--limit", "0")["documents"]
    short = [row["id"] for row in listed if row["text_bytes"] <= LONGEST_ENTRY]
    short.sort(key=lambda identity: hashlib.sha256(identity.encode()).hexdigest())
    wanted, sources = list(KINDS), set()
    for identity in short:
        facts = documents(program, "show", identity, "--namespace", namespace)["metadata"]
        # Rare facts first, one question for each source package.
        for kind in sorted(set(wanted), key=["bug", "cve", "uploader", "date"].index):
            found = question(kind, facts)
            if found and facts["source"] not in sources:
                wanted.remove(kind)
                sources.add(facts["source"])
                print(kind, identity, *found, sep="\t")
        if not wanted:
            break


def revise(program, namespace, identity, day):
    document = documents(program, "show", identity, "--namespace", namespace)
    moment = datetime.datetime.fromisoformat(day + "T12:00:00+00:00")
    head, _, _ = document["text"].rpartition(">  ")
    print(json.dumps({
        "id": identity,
        "version": document["version"] + 1,
        "title": document["title"],
        "text": f"{head}>  {moment:%a, %d %b %Y %H:%M:%S %z}",
        "valid_from": moment.isoformat(),
        "metadata": dict(document["metadata"], date=day),
    }))


if __name__ == "__main__":
    {"pick": pick, "revise": revise}[sys.argv[1]](*sys.argv[2:])
