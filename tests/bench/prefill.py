#!/usr/bin/env python3
"""Reading and generating with a model of TinyLlama-1.1B's shape and random weights in bf16, beside
what the machine can do in the same minute.

    tests/bench/prefill.py [--build DIR] [--tokens 512,4096] [--generate 32] [--runs 3] [quire options]

The model (2.2 GB) is made in the temporary directory and removed at the end. Prints tokens per
second, and the part of the machine's bf16 peak that the products of reading come to: 2 operations
for each weight of the layers and each token; causal attention is counted as 2 * tokens^2 * width for
each layer. The head runs for the last token alone, so its weights do not count. Generating is held
against the read bandwidth: the bytes of the layers and the head for each token.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import struct
import subprocess
import tempfile

import numpy

LAYERS, HIDDEN, HEADS, KV_HEADS, FFN, VOCAB = 22, 2048, 32, 4, 5632, 32000
KV = HIDDEN // HEADS * KV_HEADS
MATRICES = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (KV, HIDDEN),
            "self_attn.v_proj": (KV, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
            "mlp.gate_proj": (FFN, HIDDEN), "mlp.up_proj": (FFN, HIDDEN),
            "mlp.down_proj": (HIDDEN, FFN)}
LAYER_WEIGHTS = LAYERS * sum(rows * cols for rows, cols in MATRICES.values())


def tensors():
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for layer in range(LAYERS):
        for name, shape in MATRICES.items():
            yield "model.layers.%d.%s.weight" % (layer, name), shape
        yield "model.layers.%d.input_layernorm.weight" % layer, (HIDDEN,)
        yield "model.layers.%d.post_attention_layernorm.weight" % layer, (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCAB, HIDDEN)


def write_model(directory):
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
              "num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "num_attention_heads": HEADS,
              "num_key_value_heads": KV_HEADS, "intermediate_size": FFN, "vocab_size": VOCAB,
              "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "tie_word_embeddings": False}
    (directory / "config.json").write_text(json.dumps(config))
    header, at = {}, 0
    for name, shape in tensors():
        end = at + 2 * int(numpy.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    random = numpy.random.default_rng(1)
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors():
            if len(shape) == 1:
                values = numpy.ones(shape, numpy.float32)
            else:
                values = random.standard_normal(shape, numpy.float32) / shape[1] ** 0.5
            (values.view(numpy.uint32) >> 16).astype(numpy.uint16).tofile(file)


def machine(build):
    """The peak (FLOP/s) and read bandwidth (bytes/s) now, as the products' benchmark measures them."""
    text = subprocess.run([build / "tests" / "bench_bench_gemm", "--machine"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return [float(number) * 1e9 for number in re.findall(r"([0-9.]+) G", text)]


def measure(build, directory, tokens, generate, options):
    ids = directory / "ids"
    ids.write_text(" ".join(str((i * 7919 + 11) % VOCAB) for i in range(tokens)))
    report = subprocess.run(
        [build / "quire", "generate", "-m", directory, "--tokens", ids, "-n", str(generate),
         "--ignore-eos", "--json", "-", *options], check=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL).stdout
    report = json.loads(report)
    return (report["timings"]["reading_tokens_per_s"],
            report["timings"].get("generating_tokens_per_s", 0), report["understood"])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--build", type=pathlib.Path, default=root / "build")
    parser.add_argument("--tokens", default="512,4096")
    parser.add_argument("--generate", type=int, default=32)
    parser.add_argument("--runs", type=int, default=3)
    asked, options = parser.parse_known_args()
    os.environ.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    with tempfile.TemporaryDirectory(prefix="quire-bench-") as name:
        directory = pathlib.Path(name)
        write_model(directory)
        for tokens in map(int, asked.tokens.split(",")):
            work = 2 * LAYER_WEIGHTS * tokens + 2 * LAYERS * HIDDEN * tokens ** 2
            bytes_of_token = 2 * (LAYER_WEIGHTS + VOCAB * HIDDEN)
            reading, generating, peaks, reads = [], [], [], []
            for _ in range(asked.runs):
                peak, read = machine(asked.build)
                a, b, understood = measure(asked.build, directory, tokens, asked.generate, options)
                reading.append(a)
                generating.append(b)
                peaks.append(peak)
                reads.append(read)
            print("%5d tokens, %s, %s, %d threads: reading %.0f tokens/s (best %.0f), %.0f %% of the "
                  "peak of %.0f GFLOP/s; generating %.1f (best %.1f), %.0f %% of %.1f GB/s"
                  % (tokens, understood["compute"], understood["isa"], understood["threads"],
                     statistics.median(reading), max(reading),
                     100 * statistics.median(r * work / tokens / p for r, p in zip(reading, peaks)),
                     statistics.median(peaks) * 1e-9, statistics.median(generating),
                     max(generating),
                     100 * statistics.median(g * bytes_of_token / r
                                             for g, r in zip(generating, reads)),
                     statistics.median(reads) * 1e-9), flush=True)


if __name__ == "__main__":
    main()
