"""Writes digests.json: SHA-256 over every tensor of the default models as float32, in file order, by the reference readers.

    python tests/oracle/checkpoints/make_digests.py --gguf SmolLM2-135M-Instruct.Q4_1.gguf --safetensors all-minilm-l6-v2/model.safetensors

Needs `gguf`, `safetensors` and `numpy`. Each tensor adds its name, a line feed and its values.
"""
import argparse
import hashlib
import json
import os
import struct

import numpy
from gguf import GGUFReader, dequantize
from safetensors.numpy import load_file


def digest(tensors):
    whole = hashlib.sha256()
    for name, values in tensors:
        whole.update(name.encode() + b"\n")
        whole.update(numpy.ascontiguousarray(values, dtype="<f4").tobytes())
    return whole.hexdigest()


def gguf_tensors(path):
    for tensor in GGUFReader(path).tensors:
        yield tensor.name, dequantize(tensor.data, tensor.tensor_type)


def safetensors_tensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    header.pop("__metadata__", None)
    values = load_file(path)
    for name in sorted(header, key=lambda name: header[name]["data_offsets"][0]):
        yield name, values[name]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--safetensors", required=True)
    arguments = parser.parse_args()
    digests = {"decoder": digest(gguf_tensors(arguments.gguf)),
               "encoder": digest(safetensors_tensors(arguments.safetensors))}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "digests.json")
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write(json.dumps(digests, indent=2) + "\n")


if __name__ == "__main__":
    main()
