"""inspect: a model's shape, its reach, and who holds what, against sums made here."""
import json

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
