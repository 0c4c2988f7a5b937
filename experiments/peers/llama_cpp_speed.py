#!/usr/bin/env python3
"""Reading and decoding speed of llama.cpp, for `alluvium bench backbone`; runs in the environment `./run peers` makes.

    llama_cpp_speed.py MODEL.gguf READ_TOKENS CONTEXT_TOKENS DECODE_TOKENS THREADS REPEATS

Prints one JSON object: read_tokens_per_s, decode_tokens_per_s (the best of the repeats, by llama.cpp's own timings) and the text decoded.
"""
import json
import sys

import xllamacpp


def main():
    model = sys.argv[1]
    read, context, decode, threads, repeats = map(int, sys.argv[2:7])
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = max(read, context + decode) + 64
    params.n_batch = params.n_ubatch = 512
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.warmup = True
    server = xllamacpp.Server(params)

    def complete(tokens, predict):
        # Tokens 1000.. are ordinary words; the same ids are read by every engine of the bench.
        request = {"prompt": [1000 + i % 977 for i in range(tokens)], "n_predict": predict, "temperature": 0,
                   "cache_prompt": False, "ignore_eos": True}
        answer = server.handle_completions(request)
        return answer if isinstance(answer, dict) else json.loads(answer)

    best = {"read_tokens_per_s": 0.0, "decode_tokens_per_s": 0.0, "text": ""}
    for _ in range(repeats):
        reading = complete(read, 1)["timings"]
        best["read_tokens_per_s"] = max(best["read_tokens_per_s"], reading["prompt_per_second"])
        decoding = complete(context, decode)
        best["decode_tokens_per_s"] = max(best["decode_tokens_per_s"], decoding["timings"]["predicted_per_second"])
        best["text"] = decoding["choices"][0]["text"] if "choices" in decoding else decoding["content"]
    json.dump(best, sys.stdout)


if __name__ == "__main__":
    main()
