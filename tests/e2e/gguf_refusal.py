"""GGUF files that are wrong or of what is not supported: refused by name, and what inspect says is
not used."""
import gguf_file
import quire


class Refused(quire.Case):
    def setUp(self):
        super().setUp()
        self.metadata, arrays = gguf_file.parts(quire.GOLDEN / "llama")
        self.tensors = gguf_file.stored(arrays)

    def refuse(self, *words, metadata=None, tensors=None, ranks=1):
        """Changes of None take something away."""
        file = gguf_file.write(self.directory / "model.gguf", *[
            {key: value for key, value in {**was, **(changes or {})}.items() if value is not None}
            for was, changes in ((self.metadata, metadata), (self.tensors, tensors))])
        ids = self.write_tokens("ids", [1, 2, 3])
        result = quire.attempt("capture", "-m", file, "--tokens", ids, "-o",
                               self.directory / "out.h5", "--sites", "logits", ranks=ranks)
        self.assertEqual(result.status, 1, str(result))
        self.assertEqual(len(result.errors), 1, str(result))
        for word in [str(file), *words]:
            self.assertIn(word, result.errors[0])

    def test_tensors(self):
        name = "blk.1.attn_k.weight"
        for tensor, words in (
                (None, "expected a tensor of shape [32, 32]"),
                (("F32", (16, 32), bytes(2048)), "found shape [16, 32], expected [32, 32]"),
                ((16, (32, 256), bytes(66 * 32)), "found dtype IQ2_XXS, expected F32, F16, BF16, "
                 "Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K"),
                ((99, (32, 32), bytes(4096)), "found tensor type 99"),
                ((26, (32, 32), bytes(4096)), "found dtype I32")):
            with self.subTest(words=words):
                self.refuse(name, words, tensors={name: tensor})
        self.refuse("found nothing", tensors={name: None}, ranks=3)
        self.refuse("blk.0.attn_norm.weight", "found dtype Q8_0",
                    tensors={"blk.0.attn_norm.weight": ("Q8_0", (32,), bytes(34))})

    def test_metadata(self):
        for key, value, words in (
                ("llama.attention.head_count", [4, 4], "found an array of 2, expected an integer"),
                ("llama.block_count", "two", 'found "two", expected an integer'),
                ("llama.block_count", 5000, "found 5000"),
                ("llama.embedding_length", 0, "found 0"),
                ("llama.attention.layer_norm_rms_epsilon", None, "found nothing"),
                ("llama.attention.value_length", 4, "found 4, expected 8"),
                ("llama.rope.dimension_count", 6, "rotates whole heads"),
                ("llama.logit_scale", 2.0, "found 2, expected 1 or nothing"),
                ("general.architecture", "bert", 'found "bert", expected one of llama, qwen2, ')):
            with self.subTest(key=key, value=value):
                self.refuse(words, metadata={key: value})
        self.refuse('"yarn"', metadata={"llama.rope.scaling.type": "yarn",
                                        "llama.rope.scaling.factor": 4.0})

    def test_biases_of_no_family(self):
        """A window makes a Mistral, which has none."""
        self.refuse("attention_bias", metadata={"llama.attention.sliding_window": 24},
                    tensors={"blk.0.attn_q.bias": ("F32", (32,), bytes(128))})

    def test_vocabulary_alone(self):
        for name in ("ggml-vocab-llama-spm", "ggml-vocab-phi-3"):
            file = self.shared("vocab/llama.cpp/%s.gguf" % name)
            result = quire.attempt("generate", "-m", file, "-p", "a")
            self.assertEqual(result.status, 1)
            self.assertIn("this may be a vocabulary alone", result.errors[0])


class Unused(quire.Case):
    def unused(self, name, **extra):
        metadata, arrays = gguf_file.parts(quire.GOLDEN / name)
        metadata.update(extra)
        tensors = gguf_file.stored(arrays)
        tensors["blk.0.unheard_of.weight"] = ("F32", (2,), bytes(8))
        file = gguf_file.write(self.directory / (name + ".gguf"), metadata, tensors)
        return quire.report("inspect", "-m", file)["model"]["unused"]

    def test_listed(self):
        for name in ("llama", "llama3", "phi3-longrope", "gemma3", "qwen3_moe"):
            unused = self.unused(name, **{"llama.made_up": 1})
            self.assertEqual(unused["tensors"], ["blk.0.unheard_of.weight"])
            self.assertIn("llama.made_up", unused["config"])
            self.assertNotIn("general.architecture", unused["config"])
            self.assertFalse([key for key in unused["config"] if "attention" in key])


if __name__ == "__main__":
    quire.main()
