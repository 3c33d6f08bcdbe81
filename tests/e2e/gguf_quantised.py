"""Quantised GGUF files of the demo model: what they compute is what their weights stand for, they
stay as they are in memory, and every command takes them as it takes a directory."""
import json

import h5py
import numpy

import gguf_blocks
import gguf_file
import quire

TEXT = quire.ROOT / "launch" / "demo-text.txt"
KINDS = gguf_blocks.SIMPLE + gguf_blocks.SUPER
# Of a weight as held: scales of six bits take a byte each.
BITS = {"Q8_0": 8.5, "Q4_0": 4.5, "Q4_1": 5, "Q5_0": 5.5, "Q5_1": 6, "Q4_K": 4.625, "Q5_K": 5.625,
        "Q6_K": 6.5625}


class Files(quire.Case):
    def setUp(self):
        super().setUp()
        self.metadata, self.arrays = gguf_file.parts(quire.DEMO)
        self.metadata.update(gguf_file.byte_level_tokenizer(quire.DEMO, "qwen2"))

    def file(self, kind, version=3, name=None):
        return gguf_file.write(self.directory / ("%s.gguf" % (name or kind)), self.metadata,
                               gguf_file.stored(self.arrays, kind), version)

    def plain_file(self, kind):
        """The values of a quantised file, in F32."""
        arrays = {name: gguf_blocks.decode(own, data, shape) for name, (own, shape, data)
                  in gguf_file.stored(self.arrays, kind).items()}
        return gguf_file.write(self.directory / ("%s.f32.gguf" % kind), self.metadata,
                               gguf_file.stored(arrays))

    def losses(self, model, *options, ranks=1):
        path = self.directory / "losses.h5"
        path.unlink(missing_ok=True)
        quire.run("perplexity", "-m", model, "-f", TEXT, *options, "--nll", path,
                  "--no-self-extend", "--kv", "f32", "--compute", "f32", ranks=ranks)
        with h5py.File(path) as file:
            dataset, = file["plain"].values()
            return dataset[:].astype(numpy.float64)


class Values(Files):
    def test_perplexity(self):
        """Within 0.5 %: activations have 16 bits in products with blocks."""
        exact = self.losses(self.file("F32"), "--lengths", 250).mean()
        for kind in KINDS:
            with self.subTest(kind=kind):
                want = self.losses(self.plain_file(kind), "--lengths", 250)
                got = self.losses(self.file(kind), "--lengths", 250)
                self.assertLess(abs(numpy.exp(got.mean() - want.mean()) - 1), 5e-3)
                self.assert_close(got, want, 5e-3, scale=1)
                self.assertLess(abs(want.mean() - exact), 0.5)
                self.assertGreater(numpy.abs(want - exact).max(), 1e-3)

    def test_ranks(self):
        """Three and four ranks cut blocks of 256 columns."""
        for number, kind in enumerate(KINDS):
            file = self.file(kind)
            want = self.losses(file, "--lengths", 60)
            ranks, mesh = [(2, "tp=2"), (3, "tp=3"), (4, "pp=2,sp=2"), (4, "tp=4")][number % 4]
            with self.subTest(kind=kind, mesh=mesh):
                got = self.losses(file, "--lengths", 60, "--mesh", mesh, "--chunk", 7, ranks=ranks)
                self.assert_close(got, want, 2e-3, scale=1)

    def test_no_block_divides(self):
        """Rows of another length come in F16 or F32, as llama.cpp's quantiser leaves them."""
        source = self.shared("models/stories260K-hf")
        self.metadata, self.arrays = gguf_file.parts(source)
        file = self.file("Q4_K")
        held = quire.report("inspect", "-m", file, "--compute", "f32")["model"]["held"]
        self.assertEqual(list(held), ["f32"])
        held = quire.report("inspect", "-m", self.file("Q8_0"), "--compute", "f32")["model"]["held"]
        self.assertEqual(held["f32"], ["blk.*.ffn_down.weight"])


class Held(Files):
    def test_bytes(self):
        """In the file's own types."""
        config = json.loads((quire.DEMO / "config.json").read_text())
        norms = (2 * config["num_hidden_layers"] + 1) * config["hidden_size"]
        for kind in KINDS:
            with self.subTest(kind=kind):
                report = quire.report("inspect", "-m", self.file(kind), "--compute", "f32")
                self.assertEqual(list(report["model"]["held"]), [kind.lower()])
                self.assertEqual(report["ranks"][0]["bytes"]["weights"],
                                 (report["model"]["parameters"] - norms) * BITS[kind] / 8
                                 + norms * 4)

    def test_share(self):
        """What two ranks hold is what the file has, and no more."""
        reports = quire.report("inspect", "-m", self.file("Q4_K"), "--compute", "f32", "--mesh",
                               "tp=2", ranks=2)["ranks"]
        whole = quire.report("inspect", "-m", self.file("Q4_K"), "--compute", "f32")["ranks"][0]
        self.assertEqual(len(reports), 2)
        for rank in reports:
            self.assertLess(rank["bytes"]["weights"], 0.6 * whole["bytes"]["weights"])

    def test_quantised_further(self):
        file = self.file("F32")
        report = quire.report("inspect", "-m", file, "--compute", "f32", "--weights", "q8_0")
        self.assertEqual(list(report["model"]["held"]), ["q8_0"])
        got = self.losses(file, "--lengths", 60, "--weights", "q8_0")
        want = self.losses(quire.DEMO, "--lengths", 60, "--weights", "q8_0")
        self.assert_close(got, want, 1e-4, scale=1)

    def test_quantised_otherwise(self):
        report = quire.report("inspect", "-m", self.file("Q5_K"), "--compute", "f32", "--weights",
                              "q8_0")
        self.assertEqual(list(report["model"]["held"]), ["q8_0"])
        got = self.losses(self.file("Q5_K"), "--lengths", 60, "--weights", "q8_0")
        want = self.losses(self.plain_file("Q5_K"), "--lengths", 60, "--weights", "q8_0")
        self.assert_close(got, want, 1e-4, scale=1)


class Forms(Files):
    GENERATE = ["-p", "Once upon a time", "-n", 16, "--compute", "f32"]

    def test_versions_and_splits(self):
        want = quire.run("generate", "-m", self.file("Q5_0"), *self.GENERATE).stdout
        older = self.file("Q5_0", version=2, name="v2")
        parts = gguf_file.write_split(self.directory, "split", self.metadata,
                                      gguf_file.stored(self.arrays, "Q5_0"), 2)
        for model, ranks in ((older, 1), (parts[0], 1), (parts[1], 2)):
            result = quire.run("generate", "-m", model, *self.GENERATE, ranks=ranks)
            self.assertEqual(result.stdout, want)
        parts[1].unlink()
        result = quire.attempt("generate", "-m", parts[0], *self.GENERATE)
        self.assertEqual(result.status, 1)
        self.assertIn("split-00002-of-00002.gguf", result.errors[0])

    def test_unquantised_types(self):
        """The demo model is BF16, so F32 and BF16 are the same values."""
        want = self.losses(quire.DEMO, "--lengths", 60)
        for kind, tolerance in (("F32", 0), ("BF16", 0), ("F16", 1e-3)):
            self.assert_close(self.losses(self.file(kind), "--lengths", 60), want, tolerance,
                              scale=1, what=kind)


class Commands(Files):
    def test_tokenizer(self):
        file = self.file("Q4_0")
        text = TEXT.read_bytes()[:3000]
        want = quire.run("tokenize", "-m", quire.DEMO, stdin=text).stdout
        ids = quire.run("tokenize", "-m", file, stdin=text).stdout
        self.assertEqual(ids, want)
        self.assertEqual(quire.run("tokenize", "-m", file, "--decode", stdin=ids).stdout, text)

    def test_generate(self):
        options = ["-p", "Once upon a time", "-n", 24, "--compute", "f32"]
        self.assertEqual(quire.run("generate", "-m", self.file("F32"), *options).stdout,
                         quire.run("generate", "-m", quire.DEMO, *options).stdout)

    def test_bench(self):
        report = quire.report("bench", "-m", self.file("Q4_0"), "--prefill", 32, "--runs", 1,
                              timeout=200)
        self.assertIn("q4_0", json.dumps(report))

    def test_reading(self):
        file, state = self.file("Q8_0"), self.directory / "book.h5"
        text = self.write("book.txt", TEXT.read_bytes()[:2000])
        quire.run("ingest", "-m", file, "-f", text, "-o", state, ranks=2)
        answers = [quire.run("ask", "-m", file, "-c", state, "-p", "Then", "-n", 8,
                             ranks=ranks).stdout for ranks in (1, 2)]
        self.assertEqual(answers[0], answers[1])
        other = self.file("Q4_0")
        result = quire.attempt("ask", "-m", other, "-c", state, "-p", "Then", "-n", 8)
        self.assertEqual(result.status, 1, str(result))


if __name__ == "__main__":
    quire.main()
