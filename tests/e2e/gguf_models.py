"""GGUF files of the families' reference models: the logits of their safetensors bit for bit, and
those of the models' own implementation."""
import json
import shutil

import h5py
import numpy

import gguf_file
import quire

TOLERANCE = 5e-5  # of the largest logit
SETTINGS = {
    "logits_plain": ["--no-self-extend"],
    "logits_se_G3_w10": ["--group", 3, "--window", 10],
    "logits_se_G4_w16": ["--group", 4, "--window", 16],
}
MESHES = [(1, "sp=1"), (2, "tp=2"), (3, "tp=3"), (4, "pp=2,sp=2")]
# What these models' files cannot say, as llama.cpp takes it for given: the reference models differ
# from every published one there.
GIVEN = {"gemma2": {"query_pre_attn_scalar": 12}, "gemma3": {"query_pre_attn_scalar": 8},
         "smollm3": {"no_rope_layers": None, "no_rope_layer_interval": 4}}
# Factors of the rotary embedding stand in these files as f32.
FACTORS = ["llama3", "llama3-oldconfig", "phi3-longrope"]


class Models(quire.Case):
    def logits(self, model, ids, ranks, *options):
        output = self.directory / "activations.h5"
        output.unlink(missing_ok=True)
        quire.run("capture", "-m", model, "--tokens", ids, "-o", output, "--sites", "logits",
                  *quire.EXACT, *options, ranks=ranks)
        with h5py.File(output) as file:
            return file["logits"][:]

    def model(self, name, changes=None):
        """A copy of a reference model, its configuration changed, and the copy's GGUF parts."""
        copy = self.directory / name
        shutil.copytree(quire.GOLDEN / name, copy)
        config = json.loads((copy / "config.json").read_text())
        config.update(changes or {})
        (copy / "config.json").write_text(json.dumps(config))
        return copy, *gguf_file.parts(copy)

    def check(self, model, file, golden, first_mesh, same=True):
        """The settings take the meshes in turn."""
        ids = self.write_tokens("ids", golden["input_ids"])
        for turn, (name, options) in enumerate(SETTINGS.items(), first_mesh):
            ranks, mesh = MESHES[turn % len(MESHES)]
            with self.subTest(model=model.name, name=name, mesh=mesh):
                more = [*options, "--mesh", mesh]
                want = self.logits(model, ids, ranks, *more)
                got = self.logits(file, ids, ranks, *more)
                self.assert_close(got, want, 0 if same else TOLERANCE, what="as safetensors")
                if name in golden and model.name not in GIVEN:
                    self.assert_close(got, golden[name], TOLERANCE, what="as golden")

    def test_families(self):
        for index, path in enumerate(sorted(quire.GOLDEN.iterdir())):
            model, metadata, arrays = self.model(path.name, GIVEN.get(path.name))
            if path.name == "mistral":
                metadata["llama.attention.sliding_window"] = 24
            if path.name == "gemma3":
                metadata["gemma3.attention.sliding_window_pattern"] = [True, True, False]
            golden = quire.read_safetensors(path / "golden.safetensors")
            file = gguf_file.write(self.directory / (path.name + ".gguf"), metadata,
                                   gguf_file.stored(arrays))
            self.check(model, file, golden, index, path.name not in FACTORS)

    def check_same(self, model, metadata, arrays):
        golden = quire.read_safetensors(model / "golden.safetensors")
        file = gguf_file.write(self.directory / "other.gguf", metadata, gguf_file.stored(arrays))
        ids = self.write_tokens("ids", golden["input_ids"])
        for ranks in (1, 3):
            options = [*SETTINGS["logits_se_G4_w16"], "--mesh", "tp=%d" % ranks]
            self.assert_close(self.logits(file, ids, ranks, *options),
                              self.logits(model, ids, ranks, *options), 0)

    def test_fused_qkv(self):
        """As the first files of Phi-2."""
        model, metadata, arrays = self.model("phi")
        for layer in range(2):
            for ending in ("weight", "bias"):
                names = ["blk.%d.attn_%s.%s" % (layer, part, ending) for part in "qkv"]
                arrays["blk.%d.attn_qkv.%s" % (layer, ending)] = numpy.concatenate(
                    [arrays.pop(name) for name in names])
        self.check_same(model, metadata, arrays)

    def test_experts_apart(self):
        """As the first files of Mixtral."""
        model, metadata, arrays = self.model("mixtral")
        for name in [name for name in arrays if "_exps." in name]:
            for expert, values in enumerate(arrays.pop(name)):
                arrays[name.replace("_exps", ".%d" % expert)] = values
        self.check_same(model, metadata, arrays)

    def test_biases(self):
        """Those of q and k stand in the order of their rows."""
        model, _, _ = self.model("llama", {"attention_bias": True})
        tensors = quire.read_safetensors(model / "model.safetensors")
        values = numpy.random.default_rng(1)
        for name in [name for name in tensors if "_proj.weight" in name and "self_attn" in name]:
            tensors[name.replace("weight", "bias")] = values.standard_normal(
                len(tensors[name])).astype(numpy.float32)
        quire.write_safetensors(model / "model.safetensors", tensors)
        self.check_same(model, *gguf_file.parts(model))


if __name__ == "__main__":
    quire.main()
