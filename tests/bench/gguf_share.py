"""Writes a GGUF file in the shape of Llama-2-7B, quantised blocks of random values, generates from
it on several ranks and reports what each rank held against its share of the file.

    python3 tests/bench/gguf_share.py [--kind Q4_0] [--ranks 2] [--directory DIR] [--length 256]

Needs room for the file (3.8 GB in Q4_0) on disk and in memory. The file is removed afterwards.
QUIRE_BINARY names the program.
"""
import argparse
import pathlib
import sys
import tempfile

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import gguf_blocks  # noqa: E402
import gguf_file  # noqa: E402
import quire  # noqa: E402

LAYERS, HIDDEN, FFN, HEADS, VOCAB = 32, 4096, 11008, 32, 32000
METADATA = {
    "general.architecture": "llama", "llama.block_count": LAYERS, "llama.context_length": 4096,
    "llama.embedding_length": HIDDEN, "llama.feed_forward_length": FFN,
    "llama.attention.head_count": HEADS, "llama.attention.head_count_kv": HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 10000.0,
    "llama.rope.dimension_count": HIDDEN // HEADS}


def shapes():
    matrices = {"token_embd": (VOCAB, HIDDEN), "output": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        for name, shape in (("attn_q", (HIDDEN, HIDDEN)), ("attn_k", (HIDDEN, HIDDEN)),
                            ("attn_v", (HIDDEN, HIDDEN)), ("attn_output", (HIDDEN, HIDDEN)),
                            ("ffn_gate", (FFN, HIDDEN)), ("ffn_up", (FFN, HIDDEN)),
                            ("ffn_down", (HIDDEN, FFN))):
            matrices["blk.%d.%s" % (layer, name)] = shape
    return matrices


def write(path, kind):
    """Every matrix takes its blocks from one stretch of random ones, from another place each."""
    random = numpy.random.default_rng(1)
    most = VOCAB * HIDDEN
    stretch = memoryview(gguf_blocks.encode(
        kind, random.standard_normal(most // 8, numpy.float32) / 64) * 9)
    per_block = gguf_blocks.BYTES[kind]
    tensors = {}
    for number, (name, shape) in enumerate(shapes().items()):
        blocks = shape[0] * shape[1] // gguf_blocks.length(kind)
        first = number * 977 * per_block
        tensors[name + ".weight"] = (kind, shape, stretch[first:first + blocks * per_block])
    norms = ["output_norm"] + ["blk.%d.%s_norm" % (layer, part)
                               for layer in range(LAYERS) for part in ("attn", "ffn")]
    for name in norms:
        tensors[name + ".weight"] = ("F32", (HIDDEN,), numpy.ones(HIDDEN, "<f4").tobytes())
    gguf_file.write(path, METADATA, tensors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", default="Q4_0", choices=sorted(gguf_blocks.BYTES))
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--generate", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quire.", dir=options.directory) as directory:
        path = pathlib.Path(directory) / "model.gguf"
        write(path, options.kind)
        ids = pathlib.Path(directory) / "ids"
        random = numpy.random.default_rng(2).integers(0, VOCAB, options.length)
        ids.write_text(" ".join(map(str, random)))
        report = quire.report("generate", "-m", path, "--tokens", ids, "-n", options.generate,
                              "--ignore-eos", ranks=options.ranks, timeout=3000)
        share(report, path.stat().st_size, options)


def share(report, file_bytes, options):
    """No rank above its share of the file and of the cache, a tenth more and 200 MB."""
    kv = 2 * LAYERS * HIDDEN * 2 * (options.length + options.generate) // options.ranks  # bf16
    most = 1.1 * (file_bytes / options.ranks + kv) + 200e6
    print("file %d bytes; reading %.1f tokens/s, generating %.2f tokens/s" % (
        file_bytes, report["timings"]["reading_tokens_per_s"],
        report["timings"]["generating_tokens_per_s"]))
    peaks = [rank["peak_bytes"] for rank in report["timings"]["ranks"]]
    for number, peak in enumerate(peaks):
        print("rank %d: peak %d bytes, at most %d: %.2f" % (number, peak, most, peak / most))
    sys.exit("a rank held more than its share" if max(peaks) > most else 0)


if __name__ == "__main__":
    main()
