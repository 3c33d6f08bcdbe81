"""Readings: what the file holds, that it goes on where it stopped on any mesh, and what it refuses."""
import shutil

import h5py
import numpy

import quire

MODEL = quire.GOLDEN / "llama"
TOLERANCE = 5e-5  # of the largest value


class Reading(quire.Case):
    """Ingests the golden ids, twice over, into files of the test's directory."""

    def setUp(self):
        super().setUp()
        golden = quire.read_safetensors(MODEL / "golden.safetensors")
        self.ids = numpy.tile(golden["input_ids"], 2)
        self.tokens = self.write_tokens("ids", self.ids)
        self.file = self.directory / "book.h5"

    def arguments(self, *options, file=None):
        return ["ingest", "-m", MODEL, "--tokens", self.tokens, "-o", file or self.file, "--group", 4,
                "--window", 16, "--chunk", 40, *quire.EXACT, *options]

    def ingest(self, *options, file=None, **keywords):
        return quire.attempt(*self.arguments(*options, file=file), **keywords)

    def committed(self, file=None):
        with h5py.File(file or self.file) as book:
            records = [slot[:128].view("<u8") for slot in book["commits"][:].reshape(4, 2048)]
        return max((int(record[1]), int(record[2])) for record in records)[1]

    def arrays(self, file=None):
        with h5py.File(file or self.file) as book:
            count = int(book.attrs["text_tokens"])
            return {"keys": book["keys"][:, :, :count], "values": book["values"][:, :, :count],
                    "tokens": book["tokens"][:count], "sums": book["checksums/keys"][:]}


class Contents(Reading):
    def test_file(self):
        result = self.ingest()
        self.assertEqual(result.status, 0, result)
        self.assertIn("complete", result.stderr)
        got = self.arrays()
        self.assertTrue((got["tokens"] == self.ids).all())
        activations = self.directory / "activations.h5"
        quire.run("capture", "-m", MODEL, "--tokens", self.tokens, "-o", activations, "--group", 4,
                  "--window", 16, "--chunk", 40, "--sites", "k,v", *quire.EXACT)
        with h5py.File(activations) as captured:
            for layer, sites in enumerate(captured["layers"].values()):
                for name, site in (("keys", "k"), ("values", "v")):
                    self.assertTrue((got[name][layer].transpose(1, 0, 2) == sites[site][:]).all())

    def test_q8_0(self):
        """GGUF's blocks as bytes: near the f32 keys, and the same whether read on after a stop."""
        exact, whole = self.directory / "exact.h5", self.directory / "whole.h5"
        self.ingest(file=exact)
        arguments = self.arguments()
        arguments[14] = "q8_0"
        self.assertEqual(quire.attempt(*arguments, "--stop-after", 0).status, 85)
        self.assertEqual(quire.attempt(*arguments, ranks=3).status, 0)
        stopped, keys = self.arrays(), self.arrays(exact)["keys"]
        heads, tokens, size = keys.shape[1:]
        self.assertEqual(stopped["keys"].dtype, numpy.uint8)
        blocks = stopped["keys"][0].reshape(heads, tokens, -1)
        first = min(size, 32)
        scales = numpy.ascontiguousarray(blocks[..., :2]).view(numpy.float16).astype(numpy.float32)
        # Layer 0 does not depend on the cache.
        found = scales * blocks[..., 2:2 + first].view(numpy.int8)
        self.assertLessEqual(abs(found - keys[0][..., :first]).max(),
                             abs(keys[0]).max() * (0.5 / 127 + 2 ** -10))
        self.assertEqual(quire.attempt(*[whole if a == self.file else a for a in arguments]).status,
                         0)
        once = self.arrays(whole)
        # Rounding of sums differs from mesh to mesh, and now and then a whole number.
        for name in ("keys", "values"):
            self.assertLess((stopped[name] != once[name]).mean(), 0.02)

    def test_bf16(self):
        """16-bit floats that h5py reads: the f32 keys, rounded to nearest even."""
        exact = self.directory / "exact.h5"
        self.ingest(file=exact)
        result = self.ingest("--no-self-extend", "--kv", "bf16", "--reserve", 0)
        self.assertEqual(result.status, 2, result)  # --kv twice
        arguments = [a for a in self.arguments() if a not in ("--kv", "f32")] + ["f32"]
        quire.run(*arguments)
        with h5py.File(self.file) as book:
            self.assertEqual(book["keys"].id.get_type().get_size(), 2)
        # Layer 0 does not depend on the cache.
        expected = self.arrays(exact)["keys"][0]
        bits = numpy.ascontiguousarray(expected).view(numpy.uint32)
        rounded = ((bits + 0x7fff + (bits >> 16 & 1)) >> 16 << 16).view(numpy.float32)
        self.assertTrue((self.arrays()["keys"][0] == rounded).all())

    def test_text(self):
        """From text: byte offsets, the text's name and size, and room for what is reserved."""
        text = self.write("book.txt", "The gate was old. " * 20)
        quire.run("ingest", "-m", quire.DEMO, "-f", text, "-o", self.file, "--reserve", 100)
        with h5py.File(self.file) as book:
            count = int(book.attrs["text_tokens"])
            self.assertEqual(int(book.attrs["text_bytes"]), 360)
            self.assertEqual(book["keys"].shape[2], count + 100)
            self.assertIn("book.txt", book.attrs["text_name"])
            offsets = book["byte_offsets"][:count]
        self.assertTrue((numpy.diff(offsets) >= 0).all())
        self.assertLess(offsets[-1], 360)


class Continuing(Reading):
    def test_same_mesh(self):
        """Stopped after every chunk: the same bits as in one go."""
        whole = self.directory / "whole.h5"
        for ranks in (1, 2):
            self.assertEqual(self.ingest(file=whole, ranks=ranks).status, 0)
            for chunk in range(1, 5):
                result = self.ingest("--stop-after", 0, ranks=ranks)
                self.assertEqual(result.status, 85, result)
                self.assertEqual(self.committed(), 40 * chunk)
            self.assertEqual(self.ingest("--stop-after", 0, ranks=ranks).status, 0)
            expected, got = self.arrays(whole), self.arrays()
            for name in expected:
                self.assertTrue((got[name] == expected[name]).all(), name)
            whole.unlink()
            self.file.unlink()

    def test_other_meshes(self):
        self.assertEqual(self.ingest(file=self.directory / "whole.h5").status, 0)
        expected = self.arrays(self.directory / "whole.h5")
        meshes = [(4, "tp=2,sp=2"), (3, "sp=3"), (1, "tp=1"), (4, "pp=2,sp=2")]
        for ranks, mesh in meshes:
            result = self.ingest("--mesh", mesh, "--stop-after", 0, ranks=ranks)
            self.assertEqual(result.status, 85, result)
        self.assertEqual(self.ingest(ranks=2).status, 0)
        got = self.arrays()
        for name in ("keys", "values"):
            self.assert_close(got[name], expected[name], TOLERANCE, what=name)

    def test_complete(self):
        self.assertEqual(self.ingest().status, 0)
        before = self.file.read_bytes()
        result = self.ingest(ranks=2)
        self.assertEqual(result.status, 0, result)
        self.assertIn("complete", result.stderr)
        self.assertEqual(self.file.read_bytes(), before)


class Refusals(Reading):
    def refuse(self, words, *options, **keywords):
        result = self.ingest(*options, **keywords)
        self.assertEqual(result.status, 1, result)
        self.assertEqual(len(result.errors), 1, result)
        for word in words:
            self.assertIn(word, result.errors[0])
        return result

    def test_other_arguments(self):
        self.assertEqual(self.ingest("--stop-after", 0).status, 85)
        before = self.file.read_bytes()
        self.refuse(["capacity"], "--reserve", 7)
        for index, value, word in ((8, "5", "group"), (10, "17", "window"), (12, "41", "chunk"),
                                   (14, "bf16", "kv")):
            arguments = self.arguments()
            arguments[index] = value
            result = quire.attempt(*arguments, ranks=2)
            self.assertEqual(result.status, 1, result)
            self.assertIn(": %s: found" % word, result.errors[0])
        self.tokens = self.write_tokens("ids", self.ids[::-1])
        self.refuse(["text_hash"])
        self.assertEqual(self.file.read_bytes(), before)

    def test_other_model(self):
        """One weight is another."""
        model = self.directory / "model"
        shutil.copytree(MODEL, model)
        self.assertEqual(self.ingest("--stop-after", 0).status, 85)
        weights = bytearray((model / "model.safetensors").read_bytes())
        weights[-1000] ^= 1
        (model / "model.safetensors").write_bytes(weights)
        arguments = self.arguments()
        arguments[2] = model
        result = quire.attempt(*arguments)
        self.assertEqual(result.status, 1, result)
        self.assertIn("model_identity", result.errors[0])

    def test_no_reading(self):
        self.file.write_bytes(b"something of another kind")
        self.refuse(["book.h5", "HDF5"])
        self.assertEqual(self.file.read_bytes(), b"something of another kind")
        with h5py.File(self.directory / "other.h5", "w") as other:
            other["x"] = 1
        self.refuse(["format"], file=self.directory / "other.h5")

    def test_no_directory(self):
        self.refuse(["none"], file=self.directory / "none" / "book.h5")

    def test_newer_version(self):
        self.assertEqual(self.ingest("--stop-after", 0).status, 85)
        with h5py.File(self.file, "r+") as book:
            book.attrs.modify("format_version", 2)
        self.refuse(["format_version", "newer quire"])


if __name__ == "__main__":
    quire.main()
