"""generate: what it reads, what it writes, where it stops, and the same tokens on every mesh."""
import json
import shutil

import quire

PROMPT = "It was late in the evening when"


class Generate(quire.Case):
    def generate(self, *arguments, model=quire.DEMO, **keywords):
        return quire.report("generate", "-m", model, *arguments, **keywords)


class Output(Generate):
    def test_report(self):
        result = self.generate("-p", PROMPT, "-n", 12)
        self.assertEqual(len(result["tokens"]), 12)
        self.assertEqual(result["stop"], "length")
        self.assertIsInstance(result["text"], str)
        for key in ("schema", "version", "asked", "understood", "timings"):
            self.assertIn(key, result)

    def test_stdout_is_the_text_alone(self):
        expected = self.generate("-p", PROMPT, "-n", 40)["text"]
        for ranks in (1, 2):
            path = self.directory / "report.json"
            result = quire.run("generate", "-m", quire.DEMO, "-p", PROMPT, "-n", 40, "--json", path,
                               ranks=ranks)
            self.assertEqual(json.loads(path.read_text())["text"], expected)
            self.assertIn(result.stdout.decode(), (expected, expected + "\n"))

    def test_no_new_tokens(self):
        result = self.generate("-p", PROMPT, "-n", 0)
        self.assertEqual(result["tokens"], [])
        self.assertEqual(result["stop"], "length")

    def test_logprobs(self):
        """As many candidates as asked for, the chosen one first when greedy, and no mass lost."""
        result = self.generate("-p", PROMPT, "-n", 5, "--logprobs", 3)
        again = self.generate("-p", PROMPT, "-n", 5, "--logprobs", 3, "--seed", 3, "--temperature",
                              0.9, ranks=3)
        for report in (result, again):
            self.assertEqual(len(report["logprobs"]), len(report["tokens"]))
            for token, entry in zip(report["tokens"], report["logprobs"]):
                values = [candidate["logprob"] for candidate in entry["top"]]
                self.assertEqual(len(values), 3)
                self.assertEqual(values, sorted(values, reverse=True))
                self.assertLessEqual(entry["logprob"], values[0])
                self.assertEqual(entry["token"], token)
        self.assertEqual([entry["top"][0]["token"] for entry in result["logprobs"]],
                         result["tokens"])


class Input(Generate):
    """-f and -p: their bytes one after the other, nothing between."""

    def test_parts_are_joined(self):
        # Cut inside a word and inside a character.
        whole = "The caf\u00e9 was empty.".encode()
        head, middle, tail = whole[:3], whole[3:8], whole[8:]
        expected = self.generate("-f", self.write("whole", whole), "-n", 4)
        got = self.generate("-p", head.decode(), "-f", self.write("middle", middle), "-f",
                            self.write("tail", tail), "-n", 4)
        for key in ("prompt_tokens", "tokens"):
            self.assertEqual(got[key], expected[key])

    def test_order(self):
        path = self.write("part", " late")
        one = self.generate("-p", "It was", "-f", path, "-n", 1, "--logprobs", 5)
        two = self.generate("-f", path, "-p", "It was", "-n", 1, "--logprobs", 5)
        whole = self.generate("-p", "It was late", "-n", 1, "--logprobs", 5)
        self.assertEqual(one["logprobs"], whole["logprobs"])
        self.assertNotEqual(two["logprobs"], whole["logprobs"])

    def test_standard_input(self):
        expected = self.generate("-p", PROMPT + " he", "-n", 6)
        for ranks in (1, 2):
            got = self.generate("-f", "-", "-p", " he", "-n", 6, stdin=PROMPT.encode(), ranks=ranks)
            self.assertEqual(got["prompt_tokens"], expected["prompt_tokens"])
            self.assertEqual(got["tokens"], expected["tokens"])

    def test_long_standard_input(self):
        """More than a pipe holds, so that it comes in pieces."""
        text = b"The grass is green. " * 5000
        got = self.generate("-f", "-", "-n", 0, "--group", 128, "--window", 64, stdin=text,
                            ranks=2)
        path = self.write("text", text)
        expected = quire.report("inspect", "-m", quire.DEMO)
        self.assertEqual(expected["understood"]["model"]["vocab"], 1024)
        same = self.generate("-f", path, "-n", 0, "--group", 128, "--window", 64)
        self.assertEqual(got["prompt_tokens"], same["prompt_tokens"])
        self.assertGreater(got["prompt_tokens"], 5000)

    def test_tokens_without_tokenizer(self):
        path = self.write("ids", "1 5\n9\t60\r\n3")
        result = self.generate("--tokens", path, "-n", 3, model=quire.GOLDEN / "llama")
        self.assertEqual(result["prompt_tokens"], 5)
        self.assertEqual(len(result["tokens"]), 3)
        self.assertIsNone(result["text"])

    def test_tokens_get_nothing_added(self):
        """stories260K puts BOS in front of a text, and not in front of ids."""
        model = self.shared("models/stories260K-hf")
        self.assertEqual(self.generate("--tokens", self.write("ids", "1"), "-n", 1,
                                       model=model)["prompt_tokens"], 1)
        self.assertEqual(self.generate("-p", "Once upon a time", "-n", 1,
                                       model=model)["prompt_tokens"], 5)


class Published(Generate):
    def test_stories260k(self):
        """200 greedy tokens from BOS, on every mesh of one to four ranks."""
        model = self.shared("models/stories260K-hf")
        published = self.shared("models/stories260K")
        ids = json.loads((published / "expected_greedy_200.ids.json").read_text())
        text = (published / "expected_greedy_200.txt").read_text()
        start = self.write_tokens("ids", ids[:1])
        for ranks in (1, 2, 3, 4):
            for mesh in quire.meshes(ranks, stages=5):
                with self.subTest(mesh=mesh):
                    result = self.generate("--tokens", start, "-n", 200, *quire.EXACT, "--mesh",
                                           mesh, model=model, ranks=ranks)
                    self.assertEqual(result["tokens"], ids[1:])
                    self.assertEqual(result["text"].strip(), text.strip())
                    self.assertEqual(result["stop"], "length")


class Sampling(Generate):
    def sample(self, *options, **keywords):
        return self.generate("-p", PROMPT, "-n", 48, *quire.EXACT, "--ignore-eos", *options,
                             **keywords)["tokens"]

    def test_same_seed_on_every_mesh(self):
        for options in (["--temperature", 0.8, "--seed", 7],
                        ["--temperature", 1.2, "--top-k", 20, "--top-p", 0.9, "--seed", 11],
                        ["--temperature", 1.5, "--top-p", 0.95, "--seed", 5,
                         "--group", 4, "--window", 16]):
            expected = self.sample(*options)
            for ranks, mesh in ((2, "sp=2,tp=1"), (2, "pp=2"), (3, "tp=3"), (4, "tp=2,sp=2"),
                                (4, "pp=4")):
                with self.subTest(options=options, mesh=mesh):
                    self.assertEqual(self.sample(*options, "--mesh", mesh, ranks=ranks), expected)

    def test_seeds_differ(self):
        texts = [tuple(self.sample("--temperature", 1, "--seed", seed)) for seed in range(4)]
        self.assertEqual(len(set(texts)), 4)

    def test_greedy_needs_no_seed(self):
        self.assertEqual(self.sample("--seed", 1), self.sample("--seed", 2))

    def test_one_candidate_is_greedy(self):
        greedy = self.sample()
        self.assertEqual(self.sample("--temperature", 2, "--top-k", 1, "--seed", 9), greedy)
        self.assertEqual(self.sample("--temperature", 2, "--top-p", 1e-6, "--seed", 9), greedy)


class Stop(Generate):
    def setUp(self):
        super().setUp()
        self.free = self.generate("-p", PROMPT, "-n", 40, "--ignore-eos")

    def model(self, generation=None, config=None):
        """A copy of the demo model with other end-of-text ids."""
        directory = self.directory / "model"
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(quire.DEMO, directory)
        (directory / "generation_config.json").unlink()
        if generation is not None:
            (directory / "generation_config.json").write_text(
                json.dumps({"eos_token_id": generation}))
        content = json.loads((directory / "config.json").read_text())
        content["eos_token_id"] = config
        (directory / "config.json").write_text(json.dumps(content))
        return directory

    def first(self, *ids):
        return min(self.free["tokens"].index(i) for i in ids)

    def test_end_of_text(self):
        """generation_config.json before config.json, one id or several; the id is left out."""
        tokens = self.free["tokens"]
        a, b, c = tokens[9], tokens[21], tokens[30]
        for model, ids in (((a, c), [a]), (([b, c], a), [b, c]), ((None, b), [b]),
                           ((None, [c, a]), [a, c])):
            result = self.generate("-p", PROMPT, "-n", 40, model=self.model(*model), ranks=2)
            self.assertEqual(result["stop"], "eos")
            self.assertEqual(result["tokens"], tokens[:self.first(*ids)])

    def test_ignored_end_of_text(self):
        model = self.model(self.free["tokens"][9])
        result = self.generate("-p", PROMPT, "-n", 40, "--ignore-eos", model=model)
        self.assertEqual(result["tokens"], self.free["tokens"])
        self.assertEqual(result["stop"], "length")

    def test_text(self):
        """The text is cut before the first stop text that appears, wherever tokens end."""
        text = self.free["text"]
        early, late = text[12:17], text[31:33]
        for stops in ([early], [late], [late, early, "Zanzibar!"]):
            options = [word for stop in stops for word in ("--stop", stop)]
            result = self.generate("-p", PROMPT, "-n", 40, "--ignore-eos", *options)
            self.assertEqual(result["stop"], "string")
            self.assertEqual(result["text"],
                             text[:min(text.find(stop) for stop in stops if stop in text)])
            self.assertLess(len(result["tokens"]), 40)
            shown = quire.run("generate", "-m", quire.DEMO, "-p", PROMPT, "-n", 40, "--ignore-eos",
                              *options).stdout.decode()
            self.assertIn(shown, (result["text"], result["text"] + "\n"))

    def test_text_that_does_not_appear(self):
        result = self.generate("-p", PROMPT, "-n", 40, "--ignore-eos", "--stop", "Zanzibar!")
        self.assertEqual(result["stop"], "length")
        self.assertEqual(result["text"], self.free["text"])


class SelfExtend(Generate):
    def test_chosen_values(self):
        """DESIGN's rule: w = L/4 = 64, G the smallest with w + ceil((N - w)/G) <= 2L/3 = 170."""
        text = self.write("text", "The river is long. The night was dark. " * 100)
        result = self.generate("-f", text, "-n", 16, ranks=2)
        length = result["prompt_tokens"] + 16
        self.assertGreater(length, 256)
        self.assertEqual(result["understood"]["window"], 64)
        self.assertEqual(result["understood"]["group"],
                         min(G for G in range(1, 4096) if 64 + -(-(length - 64) // G) <= 512 / 3))

    def test_plain_within_the_trained_context(self):
        result = self.generate("-p", PROMPT, "-n", 8)
        self.assertIsNone(result["understood"]["group"])
        same = self.generate("-p", PROMPT, "-n", 8, "--no-self-extend")
        self.assertEqual(result["tokens"], same["tokens"])

    def test_warning_beyond_the_limit(self):
        """One warning that names the smallest group that fits; never a refusal."""
        text = self.write("text", "The river is long. The night was dark. " * 100)
        for options in (["--group", 2, "--window", 64], ["--no-self-extend"]):
            result = quire.run("generate", "-m", quire.DEMO, "-f", text, "-n", 1, *options, ranks=2)
            warnings = [line for line in result.lines if "warning" in line]
            self.assertEqual(len(warnings), 1, result)
            self.assertRegex(warnings[0], r"--group \d+")
        quiet = quire.run("generate", "-m", quire.DEMO, "-f", text, "-n", 1)
        self.assertNotIn("warning", quiet.stderr)


if __name__ == "__main__":
    quire.main()
