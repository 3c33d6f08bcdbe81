"""What quire refuses: each bad input ends the run everywhere, on one rank and on three, with one
line of stderr that names the file and the field, says what was found and expected, and how to go
on; never with a crash or a hang, and with nothing on stdout."""
import json
import re
import shutil
import struct

import quire

RANKS = (1, 3)
FORM = re.compile(r"^quire: \S.*: .*found .+, expected .+; \S")
DOWN = "model.layers.1.mlp.down_proj.weight"
GATE = "model.layers.0.mlp.gate_proj.weight"


class Model:
    """A copy of the tiny Llama of tests/golden that can be broken."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir()
        source = quire.GOLDEN / "llama"
        self.config = json.loads((source / "config.json").read_text())
        data = (source / "model.safetensors").read_bytes()
        length, = struct.unpack_from("<Q", data)
        self.header = json.loads(data[8:8 + length])
        self.body = bytearray(data[8 + length:])

    def save(self):
        self.save_config(json.dumps(self.config))
        self.save_weights(quire.pack_safetensors(self.header, bytes(self.body)))
        return self

    def save_config(self, text):
        (self.directory / "config.json").write_text(text)

    def save_weights(self, data):
        (self.directory / "model.safetensors").write_bytes(data)

    def weights(self):
        return (self.directory / "model.safetensors").read_bytes()

    def remove(self, name):
        """Takes a tensor out and closes the gap, so that only its absence is wrong."""
        first, end = self.header.pop(name)["data_offsets"]
        del self.body[first:end]
        for entry in self.header.values():
            if "data_offsets" in entry and entry["data_offsets"][0] >= end:
                entry["data_offsets"] = [x - (end - first) for x in entry["data_offsets"]]


class Refusal(quire.Case):
    def setUp(self):
        super().setUp()
        self.model = Model(self.directory / "model")
        self.ids = self.write_tokens("ids", [1, 5, 9, 60, 3])

    def assert_refused(self, words, *arguments, status=None, form=FORM, stdin=None, ranks=RANKS):
        for count in ranks:
            with self.subTest(words=words, ranks=count):
                result = quire.attempt(*arguments, ranks=count, stdin=stdin)
                self.assertGreater(result.status, 0, result)
                if status is not None:
                    self.assertEqual(result.status, status, result)
                self.assertEqual(len(result.errors), 1, result)
                self.assertEqual(result.stdout, b"", result)
                self.assertRegex(result.errors[0], form)
                for word in words:
                    self.assertIn(str(word), result.errors[0])

    def assert_model_refused(self, *words, **keywords):
        self.assert_refused(words, "generate", "-m", self.model.directory, "--tokens", self.ids,
                            "-n", 1, status=1, **keywords)

    def assert_usage_refused(self, *words, options, **keywords):
        self.model.save()
        self.assert_refused(words, "generate", "-m", self.model.directory, "--tokens", self.ids,
                            "-n", 1, *options, status=2, **keywords)


class Accepted(Refusal):
    def test_the_unbroken_copy(self):
        """Otherwise all of the below could be refused for a reason of its own."""
        self.model.save()
        for ranks in RANKS:
            result = quire.report("generate", "-m", self.model.directory, "--tokens", self.ids,
                                  "-n", 1, ranks=ranks)
            self.assertEqual(result["prompt_tokens"], 5)


class Files(Refusal):
    def test_missing_directory(self):
        shutil.rmtree(self.model.directory)
        self.assert_model_refused(self.model.directory)

    def test_missing_weights(self):
        self.model.save_config(json.dumps(self.model.config))
        self.assert_model_refused(self.model.directory, "safetensors")

    def test_missing_text(self):
        self.assert_refused(["none.txt"], "generate", "-m", quire.DEMO, "-f",
                            self.directory / "none.txt", status=1)

    def test_missing_shard(self):
        self.model.save()
        (self.model.directory / "model.safetensors").rename(
            self.model.directory / "model-00001-of-00002.safetensors")
        names = [name for name in self.model.header if name != "__metadata__"]
        index = {"weight_map": {name: "model-0000%d-of-00002.safetensors" % (1 + (name == DOWN))
                                for name in names}}
        (self.model.directory / "model.safetensors.index.json").write_text(json.dumps(index))
        self.assert_model_refused("model-00002-of-00002.safetensors")


class Weights(Refusal):
    def test_cut_body(self):
        self.model.save()
        self.model.save_weights(self.model.weights()[:-1000])
        self.assert_model_refused("model.safetensors")

    def test_cut_header(self):
        self.model.save()
        data = self.model.weights()
        for length in (0, 5, 8, 500):
            self.model.save_weights(data[:length])
            self.assert_model_refused("model.safetensors")

    def test_header_length_beyond_the_file(self):
        self.model.save()
        data = self.model.weights()
        for length in (len(data), 1 << 40, (1 << 63) - 1, (1 << 64) - 1):
            self.model.save_weights(struct.pack("<Q", length) + data[8:])
            self.assert_model_refused("model.safetensors", "header")

    def test_malformed_header(self):
        self.model.save_config(json.dumps(self.model.config))
        text = json.dumps(self.model.header).encode()
        for broken in (text[:-1], b"[]", text.replace(b'"shape"', b'"shope"'), b"\xff" + text[1:]):
            self.model.save_weights(quire.pack_safetensors(broken, bytes(self.model.body)))
            self.assert_model_refused("model.safetensors", ranks=(1,))
        self.assert_model_refused("model.safetensors", ranks=(3,))

    def test_overlapping_offsets(self):
        self.model.header[DOWN]["data_offsets"] = [
            x - 4 for x in self.model.header[DOWN]["data_offsets"]]
        self.model.save()
        self.assert_model_refused("model.safetensors", "overlap")

    def test_offsets_out_of_range(self):
        first, end = self.model.header[DOWN]["data_offsets"]
        size = len(self.model.body)
        for offsets in ([size, size + end - first], [end, first], [-4, end - first - 4],
                        [first, (1 << 63) - 1], [first, 1 << 64], [1.5, 2.5], [first]):
            self.model.header[DOWN]["data_offsets"] = offsets
            self.model.save()
            self.assert_model_refused("model.safetensors", ranks=(1,))
        self.assert_model_refused("model.safetensors", ranks=(3,))

    def test_wrong_shape(self):
        entry = self.model.header[GATE]
        entry["shape"] = entry["shape"][::-1]
        self.model.save()
        self.assert_model_refused("model.safetensors", GATE, "[32, 26]", "[26, 32]")

    def test_shape_that_is_not_the_size(self):
        for shape in ([27, 32], [26, 32, 2], [], [1 << 40, 1 << 40], [-26, -32]):
            self.model.header[GATE]["shape"] = shape
            self.model.save()
            self.assert_model_refused("model.safetensors", GATE, ranks=(1,))
        self.assert_model_refused("model.safetensors", GATE, ranks=(3,))

    def test_missing_tensor(self):
        for name in (DOWN, "model.norm.weight", "lm_head.weight"):
            model = self.model = Model(self.directory / name)
            model.remove(name)
            model.save()
            self.assert_model_refused(name)

    def test_unknown_dtype(self):
        for dtype in ("I32", "F31"):
            self.model.header[GATE]["dtype"] = dtype
            self.model.save()
            self.assert_model_refused("model.safetensors", GATE, dtype)

    def test_value_that_is_not_finite(self):
        """Names the first layer whose values are not finite, and a rank."""
        first, _ = self.model.header[DOWN]["data_offsets"]
        self.model.body[first:first + 4] = struct.pack("<f", float("nan"))
        self.model.save()
        self.assert_model_refused("layer 1", "rank", form=re.compile("^quire: .*not finite"))


class Config(Refusal):
    def assert_field_refused(self, field, value, *words, **keywords):
        model = self.model
        config = dict(model.config)
        if value is None:
            del config[field]
        else:
            config[field] = value
        self.model.save()
        model.save_config(json.dumps(config))
        self.assert_model_refused("config.json", field, *words, **keywords)

    def test_malformed_json(self):
        self.model.save()
        text = json.dumps(self.model.config)
        for broken in (text[:-1], "", "{]", text + "}", "[1]", "[" * 100000):
            self.model.save_config(broken)
            self.assert_model_refused("config.json", ranks=(1,))
        self.assert_model_refused("config.json", ranks=(3,))

    def test_unknown_architecture(self):
        self.model.config["model_type"] = "gpt2"
        self.model.config["architectures"] = ["GPT2LMHeadModel"]
        self.model.save()
        self.assert_model_refused("config.json", "gpt2", "llama, mistral, ", "qwen3_moe", "smollm3")

    def test_fields(self):
        """Numbers that are missing, of another type, too large or that do not fit together."""
        for field, value in (("hidden_size", None), ("hidden_size", "32"), ("hidden_size", 0),
                             ("hidden_size", 1 << 40), ("num_hidden_layers", -1),
                             ("num_key_value_heads", 3), ("vocab_size", 2.5),
                             ("rms_norm_eps", -1.0), ("hidden_act", "relu2"),
                             ("attention_bias", 1), ("head_dim", 7)):
            self.assert_field_refused(field, value, ranks=(1,))

    def test_unknown_rope_type(self):
        rope = {"rope_theta": 10000.0, "rope_type": "yarn", "factor": 4.0}
        self.assert_field_refused("rope_parameters", rope, "yarn")

    def test_rope_forms_that_disagree(self):
        self.model.config["rope_scaling"] = {"rope_type": "linear", "factor": 2.0}
        self.model.save()
        self.assert_model_refused("config.json", "rope_scaling")

    def test_config_that_is_not_the_weights(self):
        """More layers or other widths than the tensors have."""
        self.model.save()
        for field, value, word in (("num_hidden_layers", 3, "model.layers.2."),
                                   ("intermediate_size", 28, "mlp"),
                                   ("vocab_size", 65, "embed_tokens")):
            self.model.save_config(json.dumps({**self.model.config, field: value}))
            self.assert_model_refused("model.safetensors", word)


class Prompt(Refusal):
    def refuse_text(self, words, *arguments, **keywords):
        self.assert_refused(words, "generate", "-m", quire.DEMO, "-n", 1, *arguments, **keywords)

    def test_empty(self):
        self.refuse_text(["empty"], "-p", "", form=re.compile("^quire: .*empty"))
        self.refuse_text(["empty"], "-f", self.write("empty", ""),
                         form=re.compile("^quire: .*empty"))
        self.refuse_text(["standard input", "empty"], "-f", "-", stdin=b"",
                         form=re.compile("^quire: .*empty"))

    def test_no_prompt(self):
        self.refuse_text([], form=re.compile("^quire: "), status=2)

    def test_empty_tokens(self):
        self.model.save()
        self.assert_refused(["none"], "generate", "-m", self.model.directory, "--tokens",
                            self.write("none", " \n"), form=re.compile("^quire: .*none"))

    def test_invalid_utf8(self):
        """Bytes that are no character: alone, overlong, a surrogate, beyond Unicode, cut off."""
        for broken in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            path = self.write("broken.txt", "na\u00efve, ".encode() + broken)
            self.refuse_text(["broken.txt", "byte 8"], "-f", path, status=1, ranks=(1,))
        self.refuse_text(["broken.txt", "byte 8"], "-f", path, status=1, ranks=(3,))

    def test_invalid_utf8_behind_another_part(self):
        path = self.write("broken.txt", b"ab\xff")
        self.refuse_text(["broken.txt", "byte 2"], "-p", "four", "-f", path, status=1, ranks=(1,))

    def test_token_ids(self):
        self.model.save()
        for ids, word in (("1 2 64 3", 64), ("1 -1", -1), ("1 x7 2", "x7"), ("1 2.5", "2.5"),
                          ("1 99999999999999999999", "99999999999999999999")):
            path = self.write("tokens", ids)
            self.assert_refused(["tokens", word], "generate", "-m", self.model.directory,
                                "--tokens", path, "-n", 1, status=1, ranks=(1,))
        path = self.write("tokens", "1 2 64 3")
        self.assert_refused(["tokens", 64], "generate", "-m", self.model.directory, "--tokens",
                            path, "-n", 1, status=1, ranks=(3,))

    def test_text_without_tokenizer(self):
        self.model.save()
        self.assert_refused(["tokenizer"], "generate", "-m", self.model.directory, "-p", "Hello",
                            form=re.compile("^quire: .*tokenizer"))


class Tokenizer(Refusal):
    def refuse(self, change, *words, **keywords):
        directory = self.directory / "demo"
        shutil.copytree(quire.DEMO, directory)
        path = directory / "tokenizer.json"
        path.write_text(change(path.read_text()))
        self.assert_refused(["tokenizer.json", *words], "generate", "-m", directory, "-p", "Hello",
                            "-n", 1, status=1, **keywords)
        shutil.rmtree(directory)

    def test_malformed(self):
        self.refuse(lambda text: text[:len(text) // 2])

    def test_unknown_kind(self):
        def other(text):
            content = json.loads(text)
            content["model"]["type"] = "WordPiece"
            return json.dumps(content)
        self.refuse(other, "WordPiece")

    def test_more_tokens_than_the_model(self):
        """A prompt's token outside the model's vocabulary must not reach the embedding table."""
        directory = self.directory / "demo"
        shutil.copytree(quire.DEMO, directory)
        path = directory / "tokenizer.json"
        content = json.loads(path.read_text())
        content["added_tokens"].append({**content["added_tokens"][0], "id": 1024,
                                        "content": "<|beyond|>"})
        path.write_text(json.dumps(content))
        self.assert_refused(["1024"], "generate", "-m", directory, "-p", "Hello <|beyond|>", "-n",
                            1, form=re.compile("^quire: "))


class Usage(Refusal):
    def test_group_and_window(self):
        for option in ("--group", "--window"):
            self.assert_usage_refused(option, options=[option, "0"])
            for value in ("-3", "4x", "", "1.5", "99999999999999999999"):
                self.assert_usage_refused(option, options=[option, value], ranks=(1,))

    def test_mesh_of_another_number_of_ranks(self):
        self.assert_usage_refused("--mesh", options=["--mesh", "pp=1,tp=5,sp=1"])

    def test_more_stages_than_layers(self):
        self.assert_usage_refused("--mesh", "layer", options=["--mesh", "pp=3"], ranks=(3,))

    def test_malformed_mesh(self):
        for mesh in ("pp=0", "tp=1,tp=1", "xp=2", "tp", "tp=1,", "tp=-1", ""):
            self.assert_usage_refused("--mesh", options=["--mesh", mesh], ranks=(1,))

    def test_unknown_option(self):
        self.assert_usage_refused("--grouq", options=["--grouq", "4"],
                                  form=re.compile("^quire: "))

    def test_option_of_another_command(self):
        self.assert_usage_refused("--depths", options=["--depths", "50"],
                                  form=re.compile("^quire: "), ranks=(1,))

    def test_numbers(self):
        for option, value in (("-n", "-1"), ("-n", "many"), ("--chunk", "0"), ("--kv", "f64"),
                              ("--threads", "-1"), ("--temperature", "-0.5"),
                              ("--temperature", "nan"), ("--top-p", "0"), ("--top-p", "1.5"),
                              ("--top-k", "-1"), ("--compute", "f16")):
            self.assert_usage_refused(option, options=[option, value], ranks=(1,))

    def test_unknown_command(self):
        self.assert_refused(["frobnicate"], "frobnicate", status=2, form=re.compile("^quire: "))

    def test_unknown_instruction_set(self):
        """What is no level, and what is above the machine's: the line says what there is."""
        self.model.save()
        levels = ["generic", "avx2", "avx512", "avx512_bf16", "amx"]
        has = quire.instruction_sets()
        for level in ["sse9", "AVX2", *levels[len(has):]]:
            result = quire.attempt("generate", "-m", self.model.directory, "--tokens", self.ids,
                                   "-n", 1, environment={"QUIRE_ISA": level})
            self.assertEqual(result.status, 2, result)
            self.assertEqual(len(result.errors), 1, result)
            for words in ("QUIRE_ISA", 'found "%s"' % level, ", ".join(levels[:-1]) + " or amx",
                          "at most %s," % has[-1], "unset it"):
                self.assertIn(words, result.errors[0])

    def test_lengths_beyond_the_text(self):
        self.model.save()
        self.assert_refused(["--lengths", "6", "5"], "perplexity", "-m", self.model.directory,
                            "--tokens", self.ids, "--lengths", "3,6",
                            form=re.compile("^quire: "))


class Output(Refusal):
    """Unwritable output is found before the work, and a failed write at its end."""

    def refuse(self, path, *arguments):
        self.model.save()
        self.assert_refused([path], arguments[0], "-m", self.model.directory, "--tokens", self.ids,
                            *arguments[1:], path, form=re.compile("^quire: .*: "), status=1)

    def test_missing_directory(self):
        path = self.directory / "none" / "out"
        self.refuse(path, "capture", "-o")
        self.refuse(path, "perplexity", "--lengths", "5", "--nll")
        self.refuse(path, "generate", "-n", "1", "--json")

    def test_directory_in_the_way(self):
        path = self.directory / "taken"
        path.mkdir()
        self.refuse(path, "capture", "-o")
        self.refuse(path, "perplexity", "--lengths", "5", "--nll")
        self.refuse(path, "generate", "-n", "1", "--json")
        self.assertEqual(list(path.iterdir()), [])

    def test_full_device(self):
        self.model.save()
        for ranks in RANKS:
            result = quire.attempt("generate", "-m", self.model.directory, "--tokens", self.ids,
                                   "-n", 1, "--json", "/dev/full", ranks=ranks)
            self.assertEqual(len(result.errors), 1, result)
            self.assertNotEqual(result.status, 0, result)


class Memory(Refusal):
    def test_more_than_the_node_has(self):
        """A cache that no node holds; the ranks that would do are named."""
        self.model.save()
        self.assert_refused(["ranks"], "generate", "-m", self.model.directory, "--tokens",
                            self.ids, "-n", 2 * 10 ** 9, form=re.compile("^quire: .*memory"),
                            ranks=(1, 3))


if __name__ == "__main__":
    quire.main()
