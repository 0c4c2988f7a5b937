#!/usr/bin/env python3
"""Reading and decoding speed of llama.cpp, for `alluvium bench backbone`; runs in the environment `./run peers` makes.

    llama_cpp_speed.py MODEL.gguf READ_TOKENS CONTEXT_TOKENS DECODE_TOKENS THREADS REPEATS

Prints one JSON object: read_tokens_per_s, decode_tokens_per_s (the best of the repeats, by llama.cpp's own timings) and the text decoded.
"""
import json
import sys

import llama_cpp_server


def main():
    model = sys.argv[1]
    read, context, decode, threads, repeats = map(int, sys.argv[2:7])
    server = llama_cpp_server.start(model, max(read, context + decode) + 64, threads)

    def go_on(tokens, predict):
        # Tokens 1000.. are ordinary words; the same ids are read by every engine of the bench.
        return llama_cpp_server.complete(server, [1000 + i % 977 for i in range(tokens)], predict, cache_prompt=False, ignore_eos=True)

    best = {"read_tokens_per_s": 0.0, "decode_tokens_per_s": 0.0, "text": ""}
    for _ in range(repeats):
        reading = go_on(read, 1)["timings"]
        best["read_tokens_per_s"] = max(best["read_tokens_per_s"], reading["prompt_per_second"])
        decoding = go_on(context, decode)
        best["decode_tokens_per_s"] = max(best["decode_tokens_per_s"], decoding["timings"]["predicted_per_second"])
        best["text"] = decoding["text"]
    json.dump(best, sys.stdout)


if __name__ == "__main__":
    main()
