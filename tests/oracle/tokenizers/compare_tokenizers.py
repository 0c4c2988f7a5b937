"""Compares Alluvium's token ids with the reference implementation, text by text.

Run in an environment with `tokenizers` and `gguf`:

    python tests/oracle/tokenizers/compare_tokenizers.py --write-ids build/release/alluvium_write_ids \
        --gguf MODEL.gguf --json TOKENIZER.json --data DATA

DATA is the evaluation data folder (optional). Real text: its documents, this machine's C and C++ headers and Debian changelogs.
Synthetic text: seeded mixtures of scripts, marks, emoji, controls and white space runs. Exhaustive text: every Unicode scalar value
between letters, between digits and alone. The vocabulary of the GGUF file is compared once as it is read from there, and once for each
supported pre-tokenizer as a tokenizer.json that the reference wrote. Exit code 1 on any difference.
"""
import argparse
import glob
import gzip
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


def pre_tokenizer_of(name):
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    pattern = {"gpt-2": GPT2, "llama-bpe": LLAMA3, "qwen2": QWEN2}[name]
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def reference_from_gguf(path, pre=None):
    """A tokenizers.Tokenizer from the vocabulary, merges and pre-tokenizer name of a GGUF file."""
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    contents = lambda key: fields[key].contents()
    pieces = contents("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in contents("tokenizer.ggml.merges")]
    pre = pre or contents("tokenizer.ggml.pre")
    reference = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges,
                                     ignore_merges=pre == "llama-bpe"))
    reference.pre_tokenizer = pre_tokenizer_of(pre)
    if pre == "qwen2":
        reference.normalizer = normalizers.NFC()
    special = [p for p, t in zip(pieces, contents("tokenizer.ggml.token_type")) if t in (2, 3)]
    reference.add_special_tokens([AddedToken(p, normalized=False) for p in special])
    return reference


def reference_from_json(path):
    reference = Tokenizer.from_file(path)
    reference.no_truncation()
    reference.no_padding()
    return reference


def jsonl_texts(data):
    for path in sorted(glob.glob(os.path.join(data, "**", "*.jsonl.gz"), recursive=True)):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                for field in ("title", "text", "question"):
                    if isinstance(row.get(field), str):
                        yield row[field]


def take(texts, limit_bytes):
    taken, size = [], 0
    for text in texts:
        if size >= limit_bytes:
            break
        taken.append(text)
        size += len(text.encode())
    return taken


def file_texts(pattern, reader=open):
    for path in sorted(glob.glob(pattern, recursive=True)):
        if os.path.isfile(path):
            with reader(path, "rt", encoding="utf-8", errors="replace", newline="") as file:
                yield file.read()


ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", " ", " \t\n\r\v\f\x85\xa0\u2003\u3000\u2028",
    ".,;:!?()[]{}<>+-*/=_#$%&@^`|~\"'\\", "'sS'tT'reRE'veVE'mM'llLL'dD\u017f", "äöüßéèñçøåæœİıŁžĐ\u1e9e",
    "αβγδάώΣς", "абвгдеёжЖЯ", "אבגדםש\u05b8\u05bc", "ابتثجحخ\u064b\u0651", "अआइकखग\u093f\u094d\u0902", "กขคงจฉ\u0e31\u0e49",
    "中文字漢語日本", "ひらがなカタカナ", "한국어각힣\u1100\u1161\u11a8", "\u0300\u0301\u0323\u0307\u0327\u20e3\ufe0f\u200d",
    "😀🎉👩🚀🇩🇪👍🏽❤", "\x00\x01\x07\x08\x1b\x7f\x80\xad\u200b\u200e\u202e\ufeff\ufffd\ue000", "\u00b2\u00bd\u0663\u2163\u3007𝟘٣",
    "\r\n", "\n\n\n", "        ", "\t\t\t", "𝔘𝔫𝔦𐍈𠀀𪜀",
]
WHOLE = ["<|im_end|>", "<|endoftext|>", "<|im_start|>", "<repo_name>", "[CLS]", "[MASK]", "[SEP]", "[PAD]", "don't", "WE'LL", "\r\n"]


def synthetic_texts(count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        pieces = []
        for _ in range(rng.randrange(1, 40)):
            alphabet = rng.choice(ALPHABETS)
            length = rng.choice([1, 1, 2, 3, 5, 9, 40])
            pieces.append("".join(rng.choice(alphabet) for _ in range(length)))
            if rng.random() < 0.3:
                pieces.append(" ")
            if rng.random() < 0.1:
                pieces.append(rng.choice(WHOLE))
        yield "".join(pieces)
    yield "a" * 5000
    yield " " * 5000 + "x"
    yield "".join(rng.choice("ab") for _ in range(20000))
    yield "ab" * 50 + " " + "é" * 101 + " " + "z" * 100 + " " + "z" * 101


def every_code_point():
    for value in range(0x110000):
        if not 0xD800 <= value < 0xE000:
            char = chr(value)
            yield f"a{char}b {char} 1{char}2  {char}'{char}s\u0301{char}"


def ours(program, tokenizer, texts, recognise):
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "texts"), os.path.join(folder, "ids")
        with open(source, "wb") as file:
            for text in texts:
                data = text.encode()
                file.write(struct.pack("<I", len(data)) + data)
        command = [program, tokenizer, source, target] + (["recognise"] if recognise else [])
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        data = open(target, "rb").read()
    results, at = [], 0
    while at < len(data):
        (count,) = struct.unpack_from("<I", data, at)
        results.append(list(struct.unpack_from(f"<{count}i", data, at + 4)))
        at += 4 + 4 * count
    return results, said


def compare(name, program, path, reference, texts, recognise=False):
    reference.encode_special_tokens = not recognise
    start = time.time()
    expected = []
    for begin in range(0, len(texts), 1000):
        batch = reference.encode_batch(texts[begin:begin + 1000], add_special_tokens=False)
        expected += [encoding.ids for encoding in batch]
    seconds = time.time() - start
    got, said = ours(program, path, texts, recognise)
    wrong = [i for i, ids in enumerate(expected) if ids != got[i]]
    size = sum(len(text.encode()) for text in texts)
    print(f"{name}: {len(texts)} texts, {size / 1e6:.2f} MB, {sum(map(len, expected))} ids, {len(wrong)} texts differ; "
          f"ours {said.rsplit(', ', 1)[1]}, reference {size / 1e6 / seconds:.1f} MB/s", flush=True)
    for i in wrong[:5]:
        at = next((k for k, (a, b) in enumerate(zip(expected[i], got[i])) if a != b), min(len(expected[i]), len(got[i])))
        print(f"  text {i} at id {at}: reference {expected[i][at:at + 6]}, ours {got[i][at:at + 6]}; {texts[i][:80]!r}")
    return len(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-ids", required=True, help="the program alluvium_write_ids")
    parser.add_argument("--gguf", help="a GGUF file with a byte-level tokenizer")
    parser.add_argument("--json", action="append", default=[], help="a tokenizer.json; may be repeated")
    parser.add_argument("--data", help="the evaluation data folder")
    parser.add_argument("--megabytes", type=float, default=3.0, help="of each kind of real text")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    limit = arguments.megabytes * 1e6
    corpora = {
        "headers": take(file_texts("/usr/include/**/*.h*"), limit),
        "changelogs": take(file_texts("/usr/share/doc/*/changelog*.gz", gzip.open), limit),
        "synthetic": list(synthetic_texts(20000, arguments.seed)),
        "every code point": list(every_code_point()),
    }
    if arguments.data:
        documents = list(jsonl_texts(arguments.data))
        random.Random(arguments.seed).shuffle(documents)
        corpora["documents"] = take(documents, 2 * limit)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(path, reference_from_json(path)) for path in arguments.json]
        if arguments.gguf:
            pairs.append((arguments.gguf, reference_from_gguf(arguments.gguf)))
            for pre in ("gpt-2", "smollm", "llama-bpe", "qwen2"):
                path = os.path.join(folder, f"{pre}.json")
                pairs.append((path, reference_from_gguf(arguments.gguf, pre)))
                pairs[-1][1].save(path)
        for path, reference in pairs:
            print(os.path.basename(path))
            for name, texts in corpora.items():
                wrong += compare(f"  {name}", arguments.write_ids, path, reference, texts)
            wrong += compare("  synthetic, special tokens", arguments.write_ids, path, reference, corpora["synthetic"], True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
