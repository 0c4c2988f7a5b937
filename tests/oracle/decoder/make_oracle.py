#!/usr/bin/env python3
"""Makes the decoder's oracle with the reference implementation on the dequantised weights, in float32.

Run in an environment of its own with torch, transformers and gguf:

    make_oracle.py PATH/SmolLM2-135M-Instruct.Q4_1.gguf > decoder_oracle.json

Holds, for twenty prompts: token ids, the ten highest logits after the last token (for the first three prompts), 64 greedy tokens and the
gap between the two highest logits at each step (a step whose gap is under 1e-3 is a tie and may go either way).
"""
import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

PROMPTS = [
    "The capital of Norway is",
    "Rivers carry sand and clay to the sea, where",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "Water boils at a lower temperature on a mountain because",
    "Question: Which planet is closest to the sun?\nAnswer:",
    "In 1969 the first people",
    "A list of fruit:\n1. apples\n2.",
    "The package was uploaded to unstable with urgency",
    "She opened the old letter and read:",
    "import numpy as np\n\nx = np.",
    "The three primary colours are",
    "To bake bread you need flour, water,",
    "Dear Sir or Madam,\n\n",
    "An algorithm is called stable when",
    "The train left the station at",
    "SELECT name, price FROM products WHERE",
    "Once upon a time, in a village by the sea,",
    "The chemical symbol of gold is",
    "Light travels faster than sound, so",
    "Les rivières de France:",
]


def main():
    folder, name = os.path.split(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    model.eval()
    rows = []
    with torch.no_grad():
        for index, prompt in enumerate(PROMPTS):
            ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            row = {"prompt": prompt, "ids": ids, "greedy": [], "gaps": []}
            tokens = torch.tensor([ids])
            cache = None
            for step in range(64):
                out = model(tokens, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                top = out.logits[0, -1].double().topk(10)
                if step == 0 and index < 3:
                    row["top_ids"] = top.indices.tolist()
                    row["top_logits"] = [round(v, 6) for v in top.values.tolist()]
                row["greedy"].append(int(top.indices[0]))
                row["gaps"].append(round(float(top.values[0] - top.values[1]), 6))
                tokens = top.indices[:1].reshape(1, 1)
            rows.append(row)
    json.dump({"model": name, "prompts": rows}, sys.stdout, indent=0)


if __name__ == "__main__":
    main()
