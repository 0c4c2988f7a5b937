"""llama.cpp in this process, one request at a time: what the peer scripts share."""
import json

import xllamacpp


def start(model, context_tokens, threads):
    """A server of one slot on the GGUF file `model`, warmed up."""
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = context_tokens
    params.n_batch = params.n_ubatch = 512
    params.n_parallel = 1
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.warmup = True
    return xllamacpp.Server(params)


def complete(server, prompt, tokens, **settings):
    """Goes on from `prompt`, a list of token ids, greedily: llama.cpp's answer, its text under "text"."""
    answer = server.handle_completions({"prompt": prompt, "n_predict": tokens, "temperature": 0, **settings})
    answer = answer if isinstance(answer, dict) else json.loads(answer)
    answer["text"] = answer["choices"][0]["text"] if "choices" in answer else answer["content"]
    return answer
