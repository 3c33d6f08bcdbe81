"""Captured activations: what the file holds, that the arithmetic between the sites is the model's
(computed here from the weights), and that no mesh changes a value."""
import json
import os

import h5py
import numpy

import quire

MODEL = quire.GOLDEN / "llama-bf16"  # grouped heads, 2 layers
CONFIG = json.loads((MODEL / "config.json").read_text())
LAYER_SITES = ["resid_pre", "q", "k", "v", "attn_out", "resid_mid", "mlp_out", "resid_post"]
T, D, V = 96, CONFIG["hidden_size"], CONFIG["vocab_size"]
H, HK, HEAD = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"], CONFIG["head_dim"]
TOLERANCE = 5e-5  # of the largest value


def widths(site):
    return {"q": (H, HEAD), "k": (HK, HEAD), "v": (HK, HEAD), "logits": (V,)}.get(site, (D,))


class Capture(quire.Case):
    def setUp(self):
        super().setUp()
        self.golden = quire.read_safetensors(MODEL / "golden.safetensors")
        self.ids = self.write_tokens("ids", self.golden["input_ids"])

    def capture(self, *options, ranks=1, name="activations.h5"):
        output = self.directory / name
        quire.run("capture", "-m", MODEL, "--tokens", self.ids, "-o", output, *quire.EXACT,
                  *options, ranks=ranks)
        return output

    @staticmethod
    def arrays(path):
        """Every dataset by its path."""
        found = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: item[()]})
                            if isinstance(item, h5py.Dataset) else None)
        return found


class Contents(Capture):
    def test_datasets(self):
        with h5py.File(self.capture("--group", 3, "--window", 10, ranks=2)) as file:
            self.assertEqual(sorted(file), ["layers", "logits", "tokens"])
            self.assertEqual(file["tokens"].dtype, numpy.int32)
            self.assertTrue((file["tokens"][:] == self.golden["input_ids"]).all())
            self.assertEqual(sorted(file["layers"]), ["000", "001"])
            self.assertEqual(file["logits"].shape, (T, V))
            for layer in file["layers"].values():
                self.assertEqual(sorted(layer), sorted(LAYER_SITES))
                for site in LAYER_SITES:
                    self.assertEqual(layer[site].shape, (T,) + widths(site))
                    self.assertEqual(layer[site].dtype, numpy.float32)
                    axes = layer[site].attrs["axes"]
                    axes = axes.decode() if isinstance(axes, bytes) else axes
                    self.assertEqual(len(axes.split(",")), layer[site].ndim)

    def test_attributes(self):
        with h5py.File(self.capture("--group", 3, "--window", 10, "--sites", "q")) as file:
            self.assertEqual(int(file.attrs["group"]), 3)
            self.assertEqual(int(file.attrs["window"]), 10)
            text = {name: value.decode() if isinstance(value, bytes) else value
                    for name, value in file.attrs.items()}
            self.assertIn("llama-bf16", text["model"])
            self.assertEqual(text["dtype"].lower().replace("bfloat16", "bf16"), "bf16")

    def test_selection(self):
        everything = self.arrays(self.capture("--no-self-extend"))
        selected = self.arrays(self.capture(
            "--no-self-extend", "--sites", "k,resid_post", "--layers", "1", "--range", "37:70",
            "--chunk", 16, ranks=3, name="selection.h5"))
        self.assertEqual(sorted(selected), ["layers/001/k", "layers/001/resid_post", "tokens"])
        for name, values in selected.items():
            self.assertEqual(len(values), 33)
            self.assert_close(values, everything[name][37:70], TOLERANCE, what=name)

    def test_arithmetic(self):
        """The file says what it was computed in."""
        chosen = quire.report("inspect", "-m", quire.DEMO)["understood"]["compute"]
        for options, compute in (((), chosen), (("--compute", "f32"), "f32")):
            output = self.directory / "arithmetic.h5"
            output.unlink(missing_ok=True)
            quire.run("capture", "-m", quire.DEMO, "-p", "A gate.", "-o", output, "--sites", "logits",
                      *options)
            with h5py.File(output) as file:
                self.assertEqual(file.attrs["compute"], compute)

    def test_byte_offsets(self):
        """Where each token's text begins, against the vocabulary's own bytes."""
        text = "The gate was old. \u00c6sop read 17 na\u00efve caf\u00e9s\n\n\u65e5\u672c aloud.\n"
        output = self.directory / "text.h5"
        quire.run("capture", "-m", quire.DEMO, "-p", text, "-o", output, "--sites", "logits",
                  "--range", "2:")
        vocabulary = json.loads((quire.DEMO / "tokenizer.json").read_text())["model"]["vocab"]
        pieces = {number: bytes_of(piece) for piece, number in vocabulary.items()}
        with h5py.File(output) as file:
            ids, offsets = file["tokens"][:], file["byte_offsets"][:]
        self.assertEqual(offsets.dtype, numpy.int64)
        rest = text.encode()
        self.assertEqual(b"".join(pieces[number] for number in ids), rest[offsets[0]:])
        for number, offset in zip(ids, offsets):
            piece = pieces[number]
            self.assertEqual(rest[offset:offset + len(piece)], piece)


def bytes_of(piece):
    """The bytes behind a piece of a byte-level vocabulary: GPT-2's table maps the printable bytes
    to themselves and the others, in order, to the characters from 256 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in printable]
    table.update({chr(256 + at): byte for at, byte in enumerate(others)})
    return bytes(table[character] for character in piece)


class Arithmetic(Capture):
    """The sites follow from each other by the model's weights, in double here."""

    def setUp(self):
        super().setUp()
        weights = quire.read_safetensors(MODEL / "model.safetensors")
        self.weights = {name: (raw.astype(numpy.uint32) << 16).view(numpy.float32).astype(float)
                        for name, raw in weights.items()}
        self.sites = {name: values.astype(float) for name, values in
                      self.arrays(self.capture("--group", 4, "--window", 16, ranks=4)).items()}

    def layer(self, number, name):
        return self.weights["model.layers.%d.%s.weight" % (number, name)]

    def site(self, number, name):
        return self.sites["layers/%03d/%s" % (number, name)]

    @staticmethod
    def norm(x, weight):
        return x / numpy.sqrt((x * x).mean(axis=1, keepdims=True) + CONFIG["rms_norm_eps"]) * weight

    def assert_site(self, number, name, expected):
        values = self.site(number, name).reshape(T, -1)
        self.assert_close(values, expected, TOLERANCE, what="layer %d, %s" % (number, name))

    def test_layers(self):
        table = self.weights["model.embed_tokens.weight"]
        before = table[self.golden["input_ids"]]
        for number in range(2):
            self.assert_site(number, "resid_pre", before)
            hidden = self.norm(self.site(number, "resid_pre"),
                               self.layer(number, "input_layernorm"))
            for site in "qkv":
                projection = self.layer(number, "self_attn.%s_proj" % site)
                self.assert_site(number, site, hidden @ projection.T)
            self.assert_site(number, "resid_mid",
                             self.site(number, "resid_pre") + self.site(number, "attn_out"))
            hidden = self.norm(self.site(number, "resid_mid"),
                               self.layer(number, "post_attention_layernorm"))
            gate = hidden @ self.layer(number, "mlp.gate_proj").T
            up = hidden @ self.layer(number, "mlp.up_proj").T
            self.assert_site(number, "mlp_out", gate / (1 + numpy.exp(-gate)) * up
                             @ self.layer(number, "mlp.down_proj").T)
            self.assert_site(number, "resid_post",
                             self.site(number, "resid_mid") + self.site(number, "mlp_out"))
            before = self.site(number, "resid_post")
        hidden = self.norm(before, self.weights["model.norm.weight"])
        self.assert_close(self.sites["logits"], hidden @ self.weights["lm_head.weight"].T,
                          TOLERANCE, what="logits")

    def test_attention(self):
        """attn_out from q, k and v: the two zones, straight from the formula."""
        group, window = 4, 16
        i, j = numpy.mgrid[:T, :T]
        near = i - j < window
        query = numpy.where(near, i, i // group + window - window // group)
        distance = query - numpy.where(near, j, j // group)
        theta = CONFIG["rope_parameters"]["rope_theta"]
        angles = distance[..., None] * theta ** (-2 * numpy.arange(HEAD // 2) / HEAD)
        for number in range(2):
            out = numpy.zeros((T, H, HEAD))
            for head in range(H):
                q = self.site(number, "q")[:, head]
                k, v = (self.site(number, site)[:, head // (H // HK)] for site in "kv")
                q, k = (x[:, :HEAD // 2] + 1j * x[:, HEAD // 2:] for x in (q, k))
                turned = q[:, None] * k[None].conj() * numpy.exp(1j * angles)
                scores = turned.real.sum(axis=2) / numpy.sqrt(HEAD)
                scores = numpy.where(j <= i, scores, -numpy.inf)
                shares = numpy.exp(scores - scores.max(axis=1, keepdims=True))
                out[:, head] = shares / shares.sum(axis=1, keepdims=True) @ v
            self.assert_site(number, "attn_out",
                             out.reshape(T, -1) @ self.layer(number, "self_attn.o_proj").T)


class Resuming(Capture):
    OPTIONS = ["--group", 3, "--window", 10, "--chunk", 32]

    def attempt(self, *options, name="activations.h5", **keywords):
        return quire.attempt("capture", "-m", MODEL, "--tokens", self.ids, "-o", self.directory / name,
                             *quire.EXACT, *self.OPTIONS, *options, **keywords)

    def left(self):
        return sorted(path.name for path in self.directory.glob("activations*"))

    def test_same_mesh(self):
        """Stopped after every chunk: the same bits, and nothing left beside the file."""
        expected = self.arrays(self.capture(*self.OPTIONS, ranks=2, name="whole.h5"))
        for _ in range(2):
            self.assertEqual(self.attempt("--stop-after", 0, ranks=2).status, 85)
            self.assertEqual(self.left(), ["activations.h5.partial", "activations.h5.reading"])
        self.assertEqual(self.attempt("--stop-after", 0, ranks=2).status, 0)
        self.assertEqual(self.left(), ["activations.h5"])
        got = self.arrays(self.directory / "activations.h5")
        self.assertEqual(sorted(got), sorted(expected))
        for name, values in expected.items():
            self.assertTrue((got[name] == values).all(), name)

    def test_other_meshes_and_compression(self):
        expected = self.arrays(self.capture(*self.OPTIONS, name="whole.h5"))
        options = ["--range", "5:90", "--stride", 4, "--gzip", 6, "--shuffle", "--sites", "q,v,logits"]
        self.assertEqual(self.attempt("--stop-after", 0, *options, ranks=3).status, 85)
        self.assertEqual(self.attempt("--stop-after", 0, *options, "--mesh", "pp=2,sp=2", ranks=4).status, 85)
        result = self.attempt("--range", "5:90", "--stride", 5, "--sites", "q,v,logits")
        self.assertEqual(result.status, 1, result)
        self.assertIn("selection", result.errors[0])
        self.assertEqual(self.attempt(*options).status, 0)
        with h5py.File(self.directory / "activations.h5") as file:
            self.assertEqual(file["layers/001/q"].compression, "gzip")
            self.assertTrue(file["logits"].shuffle)
        got = self.arrays(self.directory / "activations.h5")
        self.assertEqual(len(got), 6)
        for name, values in got.items():
            self.assert_close(values, expected[name][5:90:4], TOLERANCE, what=name)

    def crash(self, **crash):
        shim = os.environ.get("QUIRE_CRASH_SHIM",
                              str(quire.ROOT / "build" / "tests" / "libcrash_shim.so"))
        environment = {"CRASH_" + name.upper(): str(value) for name, value in crash.items()}
        environment.update(LD_PRELOAD=shim, CRASH_MATCH="activations.h5")
        return self.attempt("--commit-every", 32, environment=environment)

    def assert_whole(self, expected):
        self.assertEqual(self.attempt("--commit-every", 32).status, 0)
        got = self.arrays(self.directory / "activations.h5")
        for name, values in expected.items():
            self.assertTrue((got[name] == values).all(), name)
        self.assertEqual(self.left(), ["activations.h5"])
        (self.directory / "activations.h5").unlink()

    def test_killed(self):
        """At writes of the activations and of the reading beside them, and when the file gets its
        name."""
        expected = self.arrays(self.capture(*self.OPTIONS, name="whole.h5"))
        for point in (5, 30, 50, 70):
            self.assertNotEqual(self.crash(at=point).status, 0)
        self.assert_whole(expected)
        count = self.directory / "count"
        self.assertEqual(self.crash(count=count).status, 0)
        (self.directory / "activations.h5").unlink()
        calls = int(count.read_text())
        for point in range(calls - 6, calls + 1):
            self.assertNotEqual(self.crash(at=point).status, 0)
            self.assert_whole(expected)


class Meshes(Capture):
    def test_every_value_on_every_mesh(self):
        options = ["--group", 3, "--window", 10, "--chunk", 32]
        expected = self.arrays(self.capture(*options))
        for ranks in (2, 3, 4):
            for mesh in quire.meshes(ranks):
                with self.subTest(mesh=mesh):
                    got = self.arrays(self.capture(*options, "--mesh", mesh, ranks=ranks))
                    self.assertEqual(sorted(got), sorted(expected))
                    for name in expected:
                        self.assert_close(got[name], expected[name], TOLERANCE, what=name)


if __name__ == "__main__":
    quire.main()
