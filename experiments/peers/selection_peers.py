#!/usr/bin/env python3
"""Scores and times of the Python packages zip-fit and data-selection, for `alluvium bench selection`; runs in the environment `./run peers` makes.

    selection_peers.py TEXTS.json PEER THREADS

TEXTS.json holds {"sources": [...], "targets": [...]}. PEER is zip-fit-gzip (level 6), zip-fit-lz4 (level 0) or data-selection (log importance
weights, no length filter, no noise). Prints one JSON object: seconds (of scoring, not of loading), peak_rss_bytes (of the largest process) and
scores, one a source.
"""
import contextlib
import json
import os
import resource
import sys
import tempfile
import time


def zip_fit_scores(sources, targets, threads, algorithm, level):
    from zip_fit import zipfit
    zipfit.cpu_count = lambda: threads
    scorer = zipfit.ZIPFIT("", "", len(sources), compression_algorithm=algorithm, compress_level=level)
    begin = time.perf_counter()
    ranked = scorer.rank_sequences_by_alignment(sources, targets)
    seconds = time.perf_counter() - begin
    by_text = {text: float(score) for text, score in ranked}
    return seconds, [by_text[text] for text in sources]


def dsir_scores(sources, targets, threads):
    import numpy as np
    from data_selection import HashedNgramDSIR
    with tempfile.TemporaryDirectory() as folder:
        def write(name, texts):
            path = os.path.join(folder, name)
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
            return path

        raw, target = write("raw.jsonl", sources), write("target.jsonl", targets)
        begin = time.perf_counter()
        dsir = HashedNgramDSIR([raw], [target], cache_dir=os.path.join(folder, "cache"), num_proc=threads, min_example_length=0)
        dsir.fit_importance_estimator()
        dsir.compute_importance_weights()
        seconds = time.perf_counter() - begin
        # Row i was scored by process i modulo threads.
        scores = np.zeros(len(sources))
        for part in range(threads):
            scores[part::threads] = np.load(os.path.join(str(dsir.log_importance_weights_dir), f"{part}.npy"))
    return seconds, scores.tolist()


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        texts = json.load(file)
    sources, targets, threads = texts["sources"], texts["targets"], int(sys.argv[3])
    # The packages print progress where the answer goes.
    with contextlib.redirect_stdout(sys.stderr):
        if sys.argv[2] == "zip-fit-gzip":
            seconds, scores = zip_fit_scores(sources, targets, threads, "gzip", 6)
        elif sys.argv[2] == "zip-fit-lz4":
            seconds, scores = zip_fit_scores(sources, targets, threads, "lz4", 0)
        else:
            seconds, scores = dsir_scores(sources, targets, threads)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    json.dump({"seconds": seconds, "peak_rss_bytes": peak * 1024, "scores": scores}, sys.stdout)


if __name__ == "__main__":
    main()
