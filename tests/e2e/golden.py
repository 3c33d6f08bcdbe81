"""Logits against those that the models' own implementation gave (tests/golden), through capture:
plain and SelfExtend, in both forms of config.json, on one to four ranks."""
import json
import shutil

import h5py
import numpy

import quire

MODELS = ["llama", "llama-bf16", "llama3", "llama3-oldconfig", "mistral"]
SETTINGS = {
    "logits_plain": ["--no-self-extend"],
    "logits_se_G3_w10": ["--group", 3, "--window", 10],
    "logits_se_G4_w16": ["--group", 4, "--window", 16],
}
TOLERANCE = 5e-5  # of the largest logit


class Golden(quire.Case):
    def check(self, model, golden, name, ranks, *options, environment=None):
        ids = self.write_tokens("ids", golden["input_ids"])
        output = self.directory / "activations.h5"
        quire.run("capture", "-m", model, "--tokens", ids, "-o", output, "--sites", "logits",
                  *quire.EXACT, *SETTINGS[name], *options, ranks=ranks, environment=environment)
        with h5py.File(output) as file:
            self.assert_close(file["logits"][:], golden[name], TOLERANCE,
                              what="%s, %s, %d ranks" % (model.name, name, ranks))

    def test_models(self):
        ranks = 0
        for model in MODELS:
            golden = quire.read_safetensors(quire.GOLDEN / model / "golden.safetensors")
            for name in SETTINGS:
                ranks = ranks % 4 + 1
                with self.subTest(model=model, name=name, ranks=ranks):
                    self.check(quire.GOLDEN / model, golden, name, ranks)

    def test_older_form_of_config(self):
        for ranks, model in enumerate(["llama", "llama-bf16", "llama3", "mistral"], 1):
            source = quire.GOLDEN / model
            golden = quire.read_safetensors(source / "golden.safetensors")
            copy = self.directory / model
            copy.mkdir()
            shutil.copy(source / "model.safetensors", copy)
            shutil.copy(source / "config_old_style.json", copy / "config.json")
            for name in SETTINGS:
                with self.subTest(model=model, name=name):
                    self.check(copy, golden, name, ranks)

    def test_every_mesh(self):
        model = quire.GOLDEN / "llama-bf16"
        golden = quire.read_safetensors(model / "golden.safetensors")
        for ranks in (2, 3, 4):
            for mesh in quire.meshes(ranks):
                with self.subTest(mesh=mesh):
                    self.check(model, golden, "logits_se_G3_w10", ranks, "--mesh", mesh)

    def test_chunks(self):
        model = quire.GOLDEN / "mistral"
        golden = quire.read_safetensors(model / "golden.safetensors")
        for chunk in (1, 7, 64, 96, 1000):
            for name in ("logits_plain", "logits_se_G4_w16"):
                with self.subTest(chunk=chunk, name=name):
                    self.check(model, golden, name, 1, "--chunk", chunk)

    def test_instruction_sets(self):
        """Every level that the machine has."""
        model = quire.GOLDEN / "llama"
        golden = quire.read_safetensors(model / "golden.safetensors")
        for level in quire.instruction_sets():
            for name in ("logits_plain", "logits_se_G3_w10"):
                with self.subTest(level=level, name=name):
                    self.check(model, golden, name, 1, environment={"QUIRE_ISA": level})


class Published(quire.Case):
    """The tiny models with logits that others published."""

    def check(self, model, ids, logits, tolerance=TOLERANCE):
        for ranks in (1, 2, 3, 4):
            with self.subTest(ranks=ranks):
                tokens = self.write_tokens("ids", ids)
                output = self.directory / "activations.h5"
                quire.run("capture", "-m", model, "--tokens", tokens, "-o", output, "--sites",
                          "logits", *quire.EXACT, "--no-self-extend", ranks=ranks)
                with h5py.File(output) as file:
                    self.assert_close(file["logits"][:], numpy.array(logits), tolerance)

    def test_ferrl_tiny_llama(self):
        source = self.shared("models/ferrl-tiny-llama")
        cases = json.loads((source / "golden.json").read_text())["cases"]
        case = cases["full_b1"]
        self.check(source, numpy.ravel(case["input_ids"]),
                   numpy.reshape(case["logits"], case["shape"])[0])

    def model(self, name, shards=1):
        """A directory made of the flat files of neural-api-tiny-hf."""
        source = self.shared("models/neural-api-tiny-hf")
        directory = self.directory / name
        directory.mkdir()
        shutil.copy(source / ("tiny_%s_config.json" % name), directory / "config.json")
        if shards == 1:
            shutil.copy(source / ("tiny_%s.safetensors" % name), directory / "model.safetensors")
        else:
            for path in source.glob("tiny_%s-*-of-*.safetensors" % name):
                shutil.copy(path, directory)
            shutil.copy(source / ("tiny_%s.safetensors.index.json" % name),
                        directory / "model.safetensors.index.json")
        golden = json.loads((source / ("tiny_%s_logits.json" % name)).read_text())
        return directory, golden["sequences"][0], golden["logits"][0]

    def test_tiny_llama(self):
        self.check(*self.model("llama"))

    def test_tiny_llama_of_two_shards(self):
        self.check(*self.model("llama", shards=2))

    def test_tiny_mistral(self):
        self.check(*self.model("mistral"))


if __name__ == "__main__":
    quire.main()
