"""perplexity: the loss of every token against the models' own implementation, and the tables that
are made of them."""
import h5py
import numpy

import quire

TOLERANCE = 1e-3  # nats, for one token


class Perplexity(quire.Case):
    def losses(self, path):
        with h5py.File(path) as file:
            found = {}
            for group in file:
                for length, dataset in file[group].items():
                    self.assertEqual(dataset.dtype, numpy.float32)
                    self.assertEqual(dataset.shape, (int(length) - 1,))
                    found[group, int(length)] = dataset[:]
            return found

    def measure(self, model, *options, ranks=1):
        path = self.directory / "losses.h5"
        path.unlink(missing_ok=True)
        report = quire.report("perplexity", "-m", model, *options, "--nll", path, ranks=ranks)
        return report, self.losses(path)


class Rounded(Perplexity):
    """bf16 products cost next to nothing: the perplexity of trained models stays within 0.5 %."""

    def check(self, model, *text):
        self.needs_bf16()
        options = [*text, "--lengths", "512,2048", "--group", 16, "--window", 64]
        _, exact = self.measure(model, *options, *quire.EXACT)
        for ranks, kv in ((1, "bf16"), (2, "bf16"), (3, "f32")):
            report, rounded = self.measure(model, *options, "--compute", "bf16", "--kv", kv,
                                           ranks=ranks)
            self.assertEqual(report["understood"]["compute"], "bf16")
            self.assertEqual(sorted(rounded), sorted(exact))
            for name, losses in rounded.items():
                ratio = numpy.exp(losses.mean(dtype=float) - exact[name].mean(dtype=float))
                self.assertLess(abs(ratio - 1), 0.005, (name, ranks, kv))
                self.assertTrue((losses != exact[name]).any(), (name, ranks, kv))

    def test_demo(self):
        self.check(quire.DEMO, "-f", quire.ROOT / "launch" / "demo-text.txt")

    def test_stories260k(self):
        self.check(self.shared("models/stories260K-hf"), "-f",
                   self.shared("books/tinystories-val.txt"))


class Published(Perplexity):
    """Trained models: losses of 2047 tokens, plain and under two settings of SelfExtend, and the
    means published with them (first window, rest)."""

    def check(self, name, window, means):
        model = self.shared("models/%s-hf" % name)
        golden = quire.read_safetensors(self.shared("golden/%s.nll.safetensors" % name))
        ids = self.write_tokens("ids", golden["input_ids"])
        for ranks, mesh in ((1, "sp=1"), (2, "sp=2,tp=1"), (3, "tp=3"), (4, "pp=2,tp=2")):
            for w in (128, 64):
                _, losses = self.measure(model, "--tokens", ids, "--lengths", "2048", *quire.EXACT,
                                         "--group", 8, "--window", w, "--mesh", mesh, ranks=ranks)
                self.assertEqual(sorted(losses), [("plain", 2048), ("self_extend", 2048)])
                for method, tensor in (("plain", "nll_plain"), ("self_extend", "nll_se_G8_w%d" % w)):
                    with self.subTest(mesh=mesh, tensor=tensor):
                        got = losses[method, 2048]
                        self.assert_close(got, golden[tensor], TOLERANCE, scale=1)
                        first, rest = means[tensor]
                        self.assertAlmostEqual(got[:window].mean(dtype=float), first, 3)
                        self.assertAlmostEqual(got[window:].mean(dtype=float), rest, 3)

    def test_stories260k(self):
        self.check("stories260K", 512, {"nll_plain": (1.3005, 1.6480),
                                        "nll_se_G8_w128": (1.2920, 1.2792),
                                        "nll_se_G8_w64": (1.3213, 1.3196)})

    def test_babyllama(self):
        self.check("babyllama-105", 256, {"nll_plain": (0.5639, 4.2736),
                                          "nll_se_G8_w128": (0.5624, 0.7590),
                                          "nll_se_G8_w64": (0.5586, 0.6840)})


class Tables(Perplexity):
    def setUp(self):
        super().setUp()
        self.text = self.write("text", (quire.ROOT / "launch" / "demo-model" / "README.md")
                               .read_text())

    def rows(self, report, length):
        row, = [row for row in report["results"] if row["length"] == length]
        return row

    def test_report_is_made_of_the_losses(self):
        report, losses = self.measure(quire.DEMO, "-f", self.text, "--lengths", "200,512,700",
                                      ranks=2)
        self.assertEqual([row["length"] for row in report["results"]], [200, 512, 700])
        for (method, length), values in losses.items():
            row = self.rows(report, length)[method]
            self.assertAlmostEqual(row["perplexity"], numpy.exp(values.mean(dtype=float)), 3)
            self.assertAlmostEqual(row["perplexity_last_256"],
                                   numpy.exp(values[-256:].mean(dtype=float)), 3)

    def test_within_the_window_both_agree(self):
        """auto means plain attention as long as the text fits."""
        _, losses = self.measure(quire.DEMO, "-f", self.text, "--lengths", "200")
        self.assertTrue((losses["plain", 200] == losses["self_extend", 200]).all())

    def test_one_pass_serves_all_lengths(self):
        """With G and w given a shorter length is the beginning of the longest."""
        report, losses = self.measure(quire.DEMO, "-f", self.text, "--lengths", "100,300,600",
                                      "--group", 8, "--window", 32)
        for method in ("plain", "self_extend"):
            for length in (100, 300):
                self.assertTrue((losses[method, length] ==
                                 losses[method, 600][:length - 1]).all())
        self.assertEqual(report["timings"]["tokens_read"], 2 * 600)

    def test_left_out(self):
        for option, left in (("--no-plain", "self_extend"), ("--no-self-extend", "plain")):
            report, losses = self.measure(quire.DEMO, "-f", self.text, "--lengths", "300", option)
            self.assertEqual(list(losses), [(left, 300)])
            self.assertEqual([method for method in ("plain", "self_extend")
                              if self.rows(report, 300).get(method)], [left])

    def test_whole_text_by_default(self):
        report, losses = self.measure(quire.DEMO, "-p", "The night was dark and the river long.")
        length, = {length for _, length in losses}
        self.assertEqual([row["length"] for row in report["results"]], [length])

    def test_first_token_counts(self):
        """BOS is one of the tokens: stories260K adds it."""
        model = self.shared("models/stories260K-hf")
        path = self.directory / "losses.h5"
        quire.run("perplexity", "-m", model, "-p", "Once upon a time", "--nll", path)
        self.assertEqual({length for _, length in self.losses(path)}, {5})


if __name__ == "__main__":
    quire.main()
