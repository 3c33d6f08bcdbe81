"""The memory that ranks really hold: their share of the weights in the type they are held in, their
share of the cache, and little besides."""
import json
import struct

import numpy

import quire

LAYERS, HIDDEN, HEADS, KV_HEADS, FFN, VOCAB, HEAD_DIM = 6, 1280, 20, 4, 3456, 40000, 64
ALLOWED = 200 << 20  # besides a tenth of weights and cache


def tensors():
    yield "model.embed_tokens.weight", (VOCAB, HIDDEN)
    for layer in range(LAYERS):
        for name, shape in (("self_attn.q_proj", (HEADS * HEAD_DIM, HIDDEN)),
                            ("self_attn.k_proj", (KV_HEADS * HEAD_DIM, HIDDEN)),
                            ("self_attn.v_proj", (KV_HEADS * HEAD_DIM, HIDDEN)),
                            ("self_attn.o_proj", (HIDDEN, HEADS * HEAD_DIM)),
                            ("mlp.gate_proj", (FFN, HIDDEN)), ("mlp.up_proj", (FFN, HIDDEN)),
                            ("mlp.down_proj", (HIDDEN, FFN)), ("input_layernorm", (HIDDEN,)),
                            ("post_attention_layernorm", (HIDDEN,))):
            yield "model.layers.%d.%s.weight" % (layer, name), shape
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCAB, HIDDEN)


def write_model(directory):
    """About 400 MB in bf16: the same few random numbers over and over."""
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
    few = numpy.random.default_rng(1).standard_normal(1 << 20).astype(numpy.float32) * 0.02
    words = (few.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for done in range(0, at, len(words)):
            file.write(words[:at - done])


class Memory(quire.Case):
    def test_peak(self):
        directory = self.directory / "model"
        directory.mkdir()
        write_model(directory)
        ids = self.write_tokens("ids", [7 * i % VOCAB for i in range(600)])
        for ranks, options in ((1, ()), (2, ()), (3, ("--mesh", "sp=3")),
                               (2, ("--weights", "q8_0")), (2, ("--compute", "f32", "--kv", "f32"))):
            report = quire.report("generate", "-m", directory, "--tokens", ids, "-n", 4, "--reserve",
                                  8192, "--ignore-eos", *options, ranks=ranks)
            planned = quire.report("inspect", "-m", directory, "--ranks", ranks, "--length", 8796,
                                   *options)["ranks"]
            for timing, plan in zip(report["timings"]["ranks"], planned):
                held = plan["bytes"]["weights"] + plan["bytes"]["kv"]
                self.assertLessEqual(timing["peak_bytes"], 1.1 * held + ALLOWED, (ranks, options))
                self.assertLessEqual(timing["peak_bytes"], plan["bytes"]["total"], (ranks, options))
                self.assertGreater(timing["peak_bytes"], plan["bytes"]["weights"], (ranks, options))


if __name__ == "__main__":
    quire.main()
