"""inspect: a model's shape, its reach, and who holds what, against sums made here."""
import json
import math

import numpy

import quire

CONFIG = json.loads((quire.DEMO / "config.json").read_text())
L = CONFIG["max_position_embeddings"]


class Inspection(quire.Case):
    def inspect(self, *options, model=quire.DEMO, ranks=1):
        return quire.report("inspect", "-m", model, *options, ranks=ranks)


class Model(Inspection):
    def test_shape(self):
        model = self.inspect()["model"]
        for name, field in (("layers", "num_hidden_layers"), ("hidden", "hidden_size"),
                            ("heads", "num_attention_heads"), ("kv_heads", "num_key_value_heads"),
                            ("ffn", "intermediate_size"), ("vocab", "vocab_size"),
                            ("context", "max_position_embeddings")):
            self.assertEqual(model[name], CONFIG[field], name)
        tensors = quire.read_safetensors(quire.DEMO / "model.safetensors")
        self.assertEqual(model["parameters"], sum(tensor.size for tensor in tensors.values()))
        self.assertEqual(model["bytes"], sum(tensor.nbytes for tensor in tensors.values()))
        self.assertEqual(model["dtype"], "BF16")

    def test_words(self):
        """What a person reads holds the same numbers."""
        text = quire.run("inspect", "-m", quire.DEMO, "--length", 4096, "--ranks", 4).stdout.decode()
        for word in ("llama", "2623744", "BF16", "byte-level BPE", "plain", "4096"):
            self.assertIn(word, text)


    def test_rounding(self):
        """Weights in BF16 are not rounded, others are in bf16 and never in f32."""
        for model, weights in ((quire.DEMO, []), (quire.GOLDEN / "llama", ["F32 weights"])):
            self.assertEqual(self.inspect(model=model)["model"]["rounding"],
                             {"f32": [], "bf16": ["activations", *weights]})


class Family(Inspection):
    def test_facts(self):
        """What is understood of the golden models, from their configs by hand."""
        expected = {
            "phi": {"norm": "layer", "parallel": True, "gated": False, "activation": "gelu_tanh",
                    "rotary_dim": 4, "biases": ["q, k, v", "o", "ffn", "head"]},
            "phi3-longrope": {"rope": {"type": "longrope", "theta": 10000.0, "factor": 4.0,
                                       "attention_factor": round(
                                           (1 + math.log(4) / math.log(40)) ** .5, 8),
                                       "original_context": 40}},
            "qwen2": {"biases": ["q, k, v"], "sliding_window": None},
            "qwen3": {"head_norm": "each head", "head_dim": 12},
            "gemma2": {"norm_place": "around", "score_cap": 6.0, "logit_cap": 4.0,
                       "attention_scale": 10 ** -.5, "sliding_window": 24,
                       "layers_without_window": [1]},
            "gemma3": {"rope": {"type": "linear", "theta": 1e6, "factor": 8.0},
                       "rope_local": {"type": "default", "theta": 10000.0},
                       "layers_without_window": [2], "embedding_multiplier": 32 ** .5},
            "olmo2": {"norm_place": "after", "head_norm": "all heads"},
            "granite": {"attention_scale": 0.5, "embedding_multiplier": 3.0,
                        "residual_multiplier": 0.6, "logits_multiplier": 0.5},
            "smollm3": {"layers_without_rotation": [1]},
            "mixtral": {"experts": {"count": 4, "used": 2, "ffn": 8, "normalised": True,
                                    "layers": [0, 1]}},
            "qwen3_moe": {"experts": {"count": 5, "used": 2, "ffn": 12, "normalised": True,
                                      "layers": [0]}},
        }
        for name, facts in expected.items():
            model = self.inspect(model=quire.GOLDEN / name)["model"]
            for field, value in facts.items():
                with self.subTest(model=name, field=field):
                    if isinstance(value, float):
                        self.assertAlmostEqual(model[field], value, 6)
                    else:
                        self.assertEqual(model[field], value)

    def test_parameters(self):
        for name in ("phi", "phi3", "qwen2", "gemma2", "gemma3", "olmo2", "mixtral", "qwen3_moe"):
            model = self.inspect(model=quire.GOLDEN / name)["model"]
            tensors = quire.read_safetensors(quire.GOLDEN / name / "model.safetensors")
            self.assertEqual(model["parameters"], sum(t.size for t in tensors.values()), name)

    def test_text_model_within(self):
        """Gemma 3 with images: the text model within it is what gemma3_text is."""
        source = quire.GOLDEN / "gemma3"
        tensors = {"language_model." + name: tensor for name, tensor in
                   quire.read_safetensors(source / "model.safetensors").items()}
        tensors["vision_tower.patch"] = numpy.zeros((2, 3), "float32")
        text = json.loads((source / "config_old_style.json").read_text())
        self.write("config.json", json.dumps(
            {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
             "eos_token_id": 2, "text_config": text, "vision_config": {"hidden_size": 8}}))
        self.write("model.safetensors", quire.safetensors_of(tensors))
        ids = self.write_tokens("ids", range(1, 60))
        options = ("--tokens", ids, "-n", 5, "--logprobs", 3, "--kv", "f32", "--compute", "f32")
        for ranks in (1, 2):
            runs = [quire.report("generate", "-m", model, *options, ranks=ranks)
                    for model in (source, self.directory)]
            for field in ("tokens", "logprobs"):
                self.assertEqual(runs[0][field], runs[1][field])
        unused = self.inspect(model=self.directory)["model"]["unused"]
        self.assertEqual(unused["tensors"], ["vision_tower.patch"])
        self.assertIn("vision_config", unused["config"])

    def test_unused(self):
        """Tensors and fields that nobody reads are named, others are not."""
        source = quire.GOLDEN / "qwen2"
        tensors = dict(quire.read_safetensors(source / "model.safetensors"))
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = numpy.zeros(4, "float32")
        config = json.loads((source / "config.json").read_text())
        config["a_field"] = {"inner": 1}
        config["rope_parameters"]["another"] = 2
        self.write("config.json", json.dumps(config))
        self.write("model.safetensors", quire.safetensors_of(tensors))
        unused = self.inspect(model=self.directory)["model"]["unused"]
        self.assertEqual(sorted(unused["tensors"]),
                         ["lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"])
        for name in ("a_field", "rope_parameters.another", "initializer_range"):
            self.assertIn(name, unused["config"])
        for name in ("hidden_size", "rope_parameters", "rope_parameters.rope_theta", "eos_token_id",
                     "sliding_window", "architectures"):
            self.assertNotIn(name, unused["config"])
        text = quire.run("inspect", "-m", self.directory).stdout.decode()
        self.assertIn("rope_parameters.another", text)


class Reach(Inspection):
    def test_longest_input(self):
        """Every relative position below L: (L - w + w//G) * G."""
        for group, window in ((32, 64), (24, 64), (64, 64), (32, 128), (3, 10), (7, 100)):
            limits = self.inspect("--group", group, "--window", window)["limits"]
            self.assertIn({"method": "self_extend", "group": group, "window": window,
                           "limit": (L - window + window // group) * group}, limits)
            self.assertIn({"method": "plain", "group": None, "window": None, "limit": L}, limits)

    def test_chosen_for_a_length(self):
        understood = self.inspect("--length", 4096)["understood"]
        self.assertEqual(understood["window"], L // 4)
        self.assertEqual(understood["group"], min(
            G for G in range(1, 4096) if L // 4 + -(-(4096 - L // 4) // G) <= 2 * L / 3))


class Shares(Inspection):
    def assert_cover(self, ranges, count):
        """The ranges cover 0 .. count once each; empty ones may stand anywhere."""
        at = 0
        for first, end in sorted(r for r in ranges if r[0] < r[1]):
            self.assertEqual(first, at)
            at = end
        self.assertEqual(at, count)

    def test_every_part_is_held_once(self):
        """On even meshes, on uneven ones, and with more ranks than heads."""
        length = 1000
        for mesh in ("pp=1,tp=1,sp=1", "pp=1,tp=2,sp=2", "pp=2,tp=1,sp=3", "pp=3,tp=3,sp=1",
                     "pp=1,tp=5,sp=2", "pp=4,tp=8,sp=3", "pp=1,tp=1,sp=16"):
            report = self.inspect("--mesh", mesh, "--length", length)
            pp, tp, sp = (report["understood"]["mesh"][axis] for axis in ("pp", "tp", "sp"))
            ranks = report["ranks"]
            self.assertEqual(len(ranks), pp * tp * sp)
            self.assert_cover([r["layers"] for r in ranks if r["tp"] == r["sp"] == 0],
                              CONFIG["num_hidden_layers"])
            for stage in range(pp):
                of_stage = [r for r in ranks if r["pp"] == stage]
                self.assert_cover([r["heads"] for r in of_stage], CONFIG["num_attention_heads"])
                self.assert_cover([r["ffn"] for r in of_stage], CONFIG["intermediate_size"])
                self.assert_cover([r["kv_heads"] for r in of_stage if r["sp"] == 0],
                                  CONFIG["num_key_value_heads"])
                for group in range(tp):
                    self.assertEqual(sum(r["kv_tokens"] for r in of_stage if r["tp"] == group),
                                     length)
            self.assert_cover([r["vocab"] for r in ranks if r["pp"] == pp - 1],
                              CONFIG["vocab_size"])

    def test_bytes(self):
        """A long cache is keys and values of every layer, and the mesh divides it."""
        length = 1 << 20
        head = CONFIG["hidden_size"] // CONFIG["num_attention_heads"]
        for kv, width in (("bf16", 2), ("f32", 4), ("q8_0", 1 + 2 * -(-head // 32) / head)):
            whole = (length * CONFIG["num_hidden_layers"] * CONFIG["num_key_value_heads"] * head *
                     2 * width)
            for mesh, parts in (("sp=1,tp=1", 1), ("pp=2,tp=2,sp=2", 8), ("tp=1,sp=4", 4)):
                ranks = self.inspect("--mesh", mesh, "--length", length, "--kv", kv)["ranks"]
                for rank in ranks:
                    share = rank["bytes"]["kv"] / (whole / parts)
                    self.assertGreaterEqual(share, 1)
                    self.assertLess(share, 1.01)
                    self.assertEqual(rank["bytes"]["total"], sum(
                        rank["bytes"][name] for name in ("weights", "kv", "activations",
                                                         "overhead")))

    def test_bytes_of_weights(self):
        """f32 holds every parameter in four bytes, bf16 in two but for the norms."""
        norms = (2 * CONFIG["num_hidden_layers"] + 1) * CONFIG["hidden_size"]
        for compute, width in (("f32", 4), ("bf16", 2)):
            if compute == "bf16":
                self.needs_bf16()
            report = self.inspect("--compute", compute)
            self.assertEqual(report["understood"]["compute"], compute)
            matrices = report["model"]["parameters"] - norms
            self.assertEqual(report["ranks"][0]["bytes"]["weights"], matrices * width + norms * 4)

    def test_asked_ranks_need_no_ranks(self):
        one = self.inspect("--ranks", 12)
        self.assertEqual(one["understood"]["ranks"], 12)
        self.assertEqual(self.inspect("--ranks", 12, ranks=2)["ranks"], one["ranks"])
        self.assertEqual(len(self.inspect(ranks=3)["ranks"]), 3)


if __name__ == "__main__":
    quire.main()
