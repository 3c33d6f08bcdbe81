"""--weights: quantised weights against the same model quantised here and stored as F32, and what the
types cost trained models."""
import json

import h5py
import numpy

import quire

BITS = {"q8_0": 8.5, "q4_0": 4.5}


def quantised(x, name):
    """A matrix's values as GGUF's type has them (quants.py of the gguf package)."""
    blocks = x.astype(numpy.float32).reshape(-1, 32)
    if name == "q8_0":
        d = numpy.abs(blocks).max(axis=1, keepdims=True) / numpy.float32(127)
    else:
        at = numpy.abs(blocks).argmax(axis=1)[:, None]
        d = numpy.take_along_axis(blocks, at, axis=1) / numpy.float32(-8)
    inverse = numpy.divide(1, d, out=numpy.zeros_like(d), where=d != 0)
    if name == "q8_0":
        size = numpy.abs(blocks * inverse)
        whole = numpy.floor(size)
        q = numpy.sign(blocks * inverse) * (whole + numpy.floor(2 * (size - whole)))
    else:
        q = numpy.minimum(numpy.trunc(blocks * inverse + numpy.float32(8.5)), 15) - 8
    return (q * d.astype(numpy.float16).astype(numpy.float32)).astype(numpy.float32).reshape(x.shape)


def widened(tensor):
    """BF16 comes as its bits."""
    if tensor.dtype == numpy.uint16:
        return (tensor.astype(numpy.uint32) << 16).view(numpy.float32)
    return tensor.astype(numpy.float32)


class Quantised(quire.Case):
    def losses(self, model, *options, ranks=1, environment=None):
        path = self.directory / "losses.h5"
        path.unlink(missing_ok=True)
        quire.run("perplexity", "-m", model, *options, "--nll", path, "--no-self-extend",
                  "--kv", "f32", ranks=ranks, environment=environment)
        with h5py.File(path) as file:
            dataset, = file["plain"].values()
            return dataset[:].astype(numpy.float64)

    def stored_quantised(self, model, name):
        """A copy of the model, in F32, each matrix that --weights quantises as it does."""
        config = json.loads((model / "config.json").read_text())
        directory = self.directory / name
        directory.mkdir()
        header, body, at = {}, b"", 0
        for tensor, values in quire.read_safetensors(model / "model.safetensors").items():
            values = widened(values)
            looked_up = "embed_tokens" in tensor and not config["tie_word_embeddings"]
            if values.ndim == 2 and values.shape[1] % 32 == 0 and not looked_up:
                values = quantised(values, name)
            header[tensor] = {"dtype": "F32", "shape": list(values.shape),
                              "data_offsets": [at, at + values.nbytes]}
            body += values.tobytes()
            at += values.nbytes
        (directory / "model.safetensors").write_bytes(quire.pack_safetensors(header, body))
        for path in model.iterdir():
            if path.name not in ("model.safetensors",) and path.is_file():
                (directory / path.name).write_bytes(path.read_bytes())
        return directory

    def check_values(self, model, text):
        """In f32 both are the same products; from the blocks, activations have 16 bits."""
        for name in BITS:
            stored = self.stored_quantised(model, name)
            options = ["-f", text, "--lengths", 200, "--compute", "f32"]
            want = self.losses(stored, *options)
            unlike = self.losses(model, *options)
            self.assertGreater(numpy.abs(want - unlike).max(), 1e-2)
            for ranks, mesh, more in ((1, "sp=1", []), (1, "sp=1", ["--chunk", 1]),
                                      (3, "tp=3", ["--chunk", 40])):
                got = self.losses(model, *options, "--weights", name, "--mesh", mesh, *more,
                                  ranks=ranks)
                self.assert_close(got, want, 2e-3, scale=1, what="%s %s %s" % (name, mesh, more))

    def check_perplexity(self, model, text, bounds):
        """Bounds are ratios to the unquantised model's, from measured ones."""
        options = ["-f", text, "--lengths", 512]
        exact = self.losses(model, *options, "--compute", "f32").mean()
        computes = ["f32", "bf16"] if quire.instruction_sets()[-1] in ("avx512_bf16",
                                                                       "amx") else ["f32"]
        for name, most in bounds.items():
            for compute in computes:
                mean = self.losses(model, *options, "--compute", compute, "--weights", name).mean()
                self.assertLess(numpy.exp(mean - exact), most, (name, compute))
                self.assertGreater(numpy.exp(mean - exact), 0.97, (name, compute))


class Demo(Quantised):
    """Tied, every row divided by 32."""

    TEXT = quire.ROOT / "launch" / "demo-text.txt"

    def test_values(self):
        self.check_values(quire.DEMO, self.TEXT)

    def test_perplexity(self):
        self.check_perplexity(quire.DEMO, self.TEXT, {"q8_0": 1.01, "q4_0": 1.3})

    def test_levels(self):
        options = ["-f", self.TEXT, "--lengths", 60, "--compute", "f32"]
        for name in BITS:
            for chunk in (1, 60):
                got = [self.losses(quire.DEMO, *options, "--weights", name, "--chunk", chunk,
                                   environment={"QUIRE_ISA": level})
                       for level in quire.instruction_sets()]
                for losses in got[1:]:
                    self.assert_close(losses, got[0], 1e-3, scale=1, what="%s %d" % (name, chunk))

    def test_same_text_on_every_mesh(self):
        for name in BITS:
            texts = {quire.run("generate", "-m", quire.DEMO, "-p", "Once upon a time", "-n", 24,
                               "--weights", name, "--compute", "f32", "--mesh", mesh,
                               ranks=ranks).stdout
                     for ranks, mesh in ((1, "sp=1"), (3, "tp=3"), (4, "pp=2,sp=2"))}
            self.assertEqual(len(texts), 1, name)


class Shared(Quantised):
    """stories260K: down_proj has rows of 172, which stay as computed with."""

    def text(self):
        return self.write("text", self.shared("books/tinystories-val.txt").read_bytes()[:8000])

    def test_values(self):
        self.check_values(self.shared("models/stories260K-hf"), self.text())

    def test_perplexity(self):
        self.check_perplexity(self.shared("models/stories260K-hf"), self.text(),
                              {"q8_0": 1.01, "q4_0": 1.3})
        self.check_perplexity(self.shared("models/babyllama-105-hf"), self.text(),
                              {"q8_0": 1.01, "q4_0": 1.3})


class Reported(Quantised):
    def inspect(self, model, *options):
        return quire.report("inspect", "-m", model, "--compute", "f32", *options)

    def test_bytes(self):
        """8.5 and 4.5 bits a weight, norms in f32."""
        whole = self.inspect(quire.DEMO)
        config = json.loads((quire.DEMO / "config.json").read_text())
        norms = (2 * config["num_hidden_layers"] + 1) * config["hidden_size"]
        for name, bits in BITS.items():
            report = self.inspect(quire.DEMO, "--weights", name)
            self.assertEqual(report["asked"]["weights"], name)
            self.assertEqual(report["understood"]["weights"], name)
            self.assertEqual(report["ranks"][0]["bytes"]["weights"],
                             (whole["model"]["parameters"] - norms) * bits / 8 + norms * 4)
        self.assertEqual(whole["understood"]["weights"], "f32")
        self.assertEqual(whole["asked"]["weights"], "auto")

    def test_what_stays(self):
        model = self.inspect(self.shared("models/stories260K-hf"), "--weights", "q8_0")["model"]
        self.assertEqual(model["held"]["f32"], ["model.layers.*.mlp.down_proj.weight"])
        self.assertIn("model.embed_tokens.weight", model["held"]["q8_0"])
        self.assertEqual(model["rounding"]["f32"], ["F32 weights to q8_0"])
        model = self.inspect(quire.DEMO, "--weights", "q4_0")["model"]
        self.assertEqual(list(model["held"]), ["q4_0"])
        self.assertEqual(model["rounding"]["f32"], ["BF16 weights to q4_0"])
        self.assertEqual(self.inspect(quire.DEMO)["model"]["rounding"]["f32"], [])

    def test_words(self):
        text = quire.run("inspect", "-m", self.shared("models/stories260K-hf"), "--weights", "q4_0",
                         "--compute", "f32").stdout.decode()
        self.assertIn("held as q4_0", text)
        self.assertRegex(text, r"held as f32 +model\.layers\.\*\.mlp\.down_proj\.weight")

    def test_refused(self):
        result = quire.attempt("inspect", "-m", quire.DEMO, "--weights", "q5_0")
        self.assertEqual(result.status, 2)
        self.assertEqual(result.errors, ['quire: --weights: found "q5_0", expected auto, q8_0 or '
                                         'q4_0; see quire inspect --help'])


if __name__ == "__main__":
    quire.main()
