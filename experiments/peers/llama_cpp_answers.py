#!/usr/bin/env python3
"""Answers of llama.cpp to whole prompts, for `alluvium bench qa --llama-cpp`; runs in the environment `./run peers` makes.

    llama_cpp_answers.py MODEL.gguf PROMPTS.json THREADS MAX_TOKENS

PROMPTS.json is a list of lists of token ids. The beginning that a prompt shares with the one before it is not read again (cache_prompt), as a
server would have it. Prints a list with, for each prompt: text, first_token_ms (reading the rest of the prompt, by llama.cpp's own timings),
total_ms (that and decoding up to the line's end), read_tokens (not shared), answer_tokens.
"""
import json
import sys

import llama_cpp_server


def main():
    model, prompts_file = sys.argv[1:3]
    threads, max_tokens = map(int, sys.argv[3:5])
    with open(prompts_file, encoding="utf-8") as file:
        prompts = json.load(file)
    server = llama_cpp_server.start(model, max(map(len, prompts)) + max_tokens + 64, threads)
    llama_cpp_server.complete(server, [1000] * 64, max_tokens)  # warms up and shares nothing
    answers = []
    for prompt in prompts:
        answer = llama_cpp_server.complete(server, prompt, max_tokens, cache_prompt=True, stop=["\n"])
        timings = answer["timings"]
        answers.append({"text": answer["text"], "first_token_ms": timings["prompt_ms"], "total_ms": timings["prompt_ms"] + timings["predicted_ms"],
                        "read_tokens": timings["prompt_n"], "answer_tokens": timings["predicted_n"]})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
