#!/usr/bin/env python3
"""Makes the encoder's oracle: unit embeddings of a few texts by sentence-transformers in float32.

Run in an environment of its own with sentence-transformers:

    make_oracle.py PATH/all-minilm-l6-v2 > encoder_oracle.json

Holds each text with the first 16 and the sum of all 384 components of its embedding.
"""
import json
import sys

from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer

TEXTS = [
    "Rivers lay alluvium on bedrock.",
    "a",
    "The upload fixed CVE-2021-44228 and closed bug #1001478.",
    "Où est la rivière? 日本語の文 and some emoji 🙂.",
    "UPPER lower MiXeD   white\tspace\nlines",
    "word " * 400,
]


def main():
    transformer = Transformer(sys.argv[1], max_seq_length=256)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    model = SentenceTransformer(modules=[transformer, pooling], device="cpu")
    rows = []
    for text in TEXTS:
        vector = model.encode([text], normalize_embeddings=True)[0].astype(float)
        rows.append({"text": text, "first": [round(v, 7) for v in vector[:16].tolist()],
                     "sum": round(float(vector.sum()), 6)})
    json.dump(rows, sys.stdout, indent=0, ensure_ascii=False)


if __name__ == "__main__":
    main()
