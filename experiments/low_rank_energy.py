#!/usr/bin/env python3
"""What a low-rank basis for keys and values would lose, beside what fewer bits lose: CSKV's and MatryoshkaKV's question to this model.

    low_rank_energy.py STORE > low_rank.json

STORE is the directory of a store whose memories are of the preset lossless in bfloat16 (`bench qa --preset lossless --store DIR` leaves DIR/lossless).
Principal components of the keys before rotation and of the values of the first two thirds of the memories, of each head and of all heads of a layer
together; the share of the variance of the others that lies outside the first r of them, mean over layers. Beside it the same share of what quantising
takes: keys a range for each channel and 32 rows, values one for each row of a head. And what steps along components take (transform coding), for steps of
0.3, 0.6 and 1 root mean square: the mean over components of log2(1 + (spread / step)^2) / 2 bits, each head scaled to the same size. Needs numpy.
"""
import json
import pathlib
import struct
import sys

import numpy

SEGMENT_HEADER = 64
RECORD_HEADER = 128
GROUP = 32
STEPS = [0.3, 0.6, 1.0]


def aligned(n):
    return (n + 63) // 64 * 64


def memories(directory):
    """Keys and values [layers, kv_heads, tokens, head_dim] of each record (docs/FORMATS.md)."""
    for path in sorted(pathlib.Path(directory, "memories").glob("*.seg")):
        segment = numpy.memmap(path, dtype=numpy.uint8, mode="r")
        at = SEGMENT_HEADER
        while at < len(segment) and bytes(segment[at:at + 4]) == b"AKVM":
            header = bytes(segment[at:at + RECORD_HEADER])
            tokens, layers, heads, width = struct.unpack_from("<4I", header, 72)
            id_bytes, record_bytes = struct.unpack_from("<IQ", header, 92)
            directory_at = aligned(RECORD_HEADER + id_bytes)
            both = numpy.empty((2, layers, heads, tokens, width), numpy.float32)
            for layer in range(layers):
                begin, size, bits = struct.unpack("<QQB", bytes(segment[at + directory_at + 24 * layer:at + directory_at + 24 * layer + 17]))
                if bits != 16 or header[88] != 3:
                    raise SystemExit(f"{path}: memories must be lossless and bfloat16")
                halves = numpy.array(segment[at + begin:at + begin + size]).view(numpy.uint16)
                both[:, layer] = (halves.astype(numpy.uint32) << 16).view(numpy.float32).reshape(2, heads, tokens, width)
            yield both
            at += aligned(record_bytes)


def lost_by_rank(fitted, others, ranks):
    """Of rows [n, channels]: the share of the others' variance outside the first r components."""
    mean = fitted.mean(0)
    _, basis = numpy.linalg.eigh((fitted - mean).T @ (fitted - mean))
    squares = ((others - mean) @ basis[:, ::-1]) ** 2
    return [float(squares[:, rank:].sum() / squares.sum()) for rank in ranks]


def lost_by_bits(rows, bits, by_channel):
    if by_channel:
        rows = rows[:len(rows) // GROUP * GROUP].reshape(-1, GROUP, rows.shape[1])
    axis = 1
    low = rows.min(axis, keepdims=True)
    step = (rows.max(axis, keepdims=True) - low) / (2 ** bits - 1)
    error = numpy.round((rows - low) / step) * step + low - rows
    spread = rows - rows.reshape(-1, rows.shape[-1]).mean(0)
    return float((error ** 2).sum() / (spread ** 2).sum())


def bits_by_step(fitted, others):
    """Of rows [n, channels] of the same size in every head: bits a number."""
    mean = fitted.mean(0)
    _, basis = numpy.linalg.eigh((fitted - mean).T @ (fitted - mean))
    spread = ((others - mean) @ basis).std(0)
    size = numpy.sqrt(((others - mean) ** 2).mean())
    return [float(numpy.log2(1 + (spread / (step * size)) ** 2).mean() / 2) for step in STEPS]


def of_one_size(rows, heads):
    rows = (rows - rows.mean(0)).reshape(len(rows), heads, -1)
    return (rows / numpy.sqrt((rows ** 2).mean((0, 2), keepdims=True))).reshape(len(rows), -1)


def mean_of(rows):
    return [round(float(x), 4) for x in numpy.mean(rows, 0)]


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    documents = list(memories(sys.argv[1]))
    if len(documents) < 6:
        raise SystemExit("six memories are needed at least")
    split = 2 * len(documents) // 3
    _, layers, heads, _, width = documents[0].shape
    result = {"memories": len(documents), "fitted_on": split}
    bits = [2, 3, 4]
    for which, name in enumerate(("keys", "values")):
        head_ranks = [width * part // 8 for part in (4, 5, 6, 7)]
        layer_ranks = [heads * rank for rank in head_ranks]
        by_head, by_layer, by_bits = [], [], []
        step_of_head, step_of_layer = [], []
        for layer in range(layers):
            together = [document[which, layer].transpose(1, 0, 2).reshape(-1, heads * width) for document in documents]
            whole = of_one_size(numpy.concatenate(together), heads)
            rows_fitted = sum(len(part) for part in together[:split])
            step_of_layer.append(bits_by_step(whole[:rows_fitted], whole[rows_fitted:]))
            step_of_head.append(numpy.mean([bits_by_step(part[:rows_fitted], part[rows_fitted:]) for part in numpy.split(whole, heads, 1)], 0))
            by_layer.append(lost_by_rank(numpy.concatenate(together[:split]), numpy.concatenate(together[split:]), layer_ranks))
            for head in range(heads):
                rows = [document[which, layer, head] for document in documents]
                others = numpy.concatenate(rows[split:])
                by_head.append(lost_by_rank(numpy.concatenate(rows[:split]), others, head_ranks))
                by_bits.append([lost_by_bits(others, b, name == "keys") for b in bits])
        result[name] = {"lost_by_rank_of_a_head": dict(zip(head_ranks, mean_of(by_head))),
                        "lost_by_rank_of_a_layer": dict(zip(layer_ranks, mean_of(by_layer))), "lost_by_bits": dict(zip(bits, mean_of(by_bits))),
                        "bits_by_step_of_a_head": dict(zip(STEPS, mean_of(step_of_head))), "bits_by_step_of_a_layer": dict(zip(STEPS, mean_of(step_of_layer)))}
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
