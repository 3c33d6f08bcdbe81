"""quire bench: what it prints and reports, on one and several ranks, and what it refuses."""
import json

import quire

RUN_KEYS = {"phase", "method", "ranks", "threads", "depth", "tokens", "tokens_per_s", "of_peak"}
KERNEL_KEYS = {"name", "shape", "threads", "gflops", "gbs", "of_peak"}

# A small model stays in the caches, and on a busy machine the peak may be measured while others
# compute and a run of a millisecond while they do not: 1 is no bound, but units are of 1000.
BOUND = 50


def bench(*options, ranks=1, **environment):
    return quire.report("bench", *options, ranks=ranks, environment=environment)


class Bench(quire.Case):
    def check_machine(self, machine, isa=None):
        self.assertEqual(machine["isa"], isa or quire.instruction_sets()[-1])
        self.assertGreater(machine["f32_gflops"], 0.1)
        self.assertGreater(machine["read_gbs"], 0.01)
        if machine["isa"] in ("avx512_bf16", "amx"):
            self.assertGreater(machine["bf16_gflops"], 0.1)
        else:
            self.assertIsNone(machine["bf16_gflops"])
        threads = [row["threads"] for row in machine["by_threads"]]
        self.assertEqual(threads, sorted(set(threads)))
        self.assertEqual(threads[0], 1)
        self.assertEqual(threads[-1], machine["threads"])

    def check_runs(self, runs, ranks):
        for run in runs:
            self.assertLessEqual(RUN_KEYS, set(run))
            self.assertEqual(run["ranks"], ranks)
            self.assertGreater(run["tokens_per_s"], 0)
            self.assertLessEqual(run["tokens_per_s_min"], run["tokens_per_s"])
            self.assertLessEqual(run["tokens_per_s"], run["tokens_per_s_max"])
            self.assertTrue(0 < run["of_peak"] < BOUND, run)
            self.assertGreaterEqual(run["seconds"]["total"], run["seconds"]["communication"])

    def test_model_on_ranks(self):
        for ranks, mesh in ((1, "pp=1"), (2, "sp=2"), (3, "pp=3")):
            report = bench("-m", quire.DEMO, "--prefill", "40,300", "--decode-depth", "0,17,700",
                           "--generate", 5, "--runs", 2, "--machine", "--mesh", mesh,
                           "--chunk", 128, ranks=ranks)
            self.assertEqual(report["schema"], "quire.bench")
            self.check_machine(report["machine"])
            self.assertEqual(report["kernels"], [])
            self.check_runs(report["runs"], ranks)
            cells = [(run["phase"], run["method"], run["depth"], run["tokens"])
                     for run in report["runs"]]
            self.assertEqual(sorted(cells), sorted(
                [("prefill", method, 0, tokens)
                 for method in ("plain", "self_extend") for tokens in (40, 300)] +
                [("decode", method, depth, 5)
                 for method in ("plain", "self_extend") for depth in (0, 17, 700)]))
            for run in report["runs"]:
                if run["method"] == "self_extend":
                    self.assertGreaterEqual(run["group"], 2)
                    self.assertEqual(run["window"], 64)
                else:
                    self.assertIsNone(run["group"])

    def test_part_of_peak_is_consistent(self):
        """of_peak follows from the rate and the peak beside it, by the model's own sizes."""
        report = bench("-m", quire.DEMO, "--prefill", 256, "--decode-depth", 64, "--method", "plain",
                       "--generate", 8, "--runs", 1, "--compute", "f32", "--kv", "f32",
                       "--machine")
        model = report["understood"]["model"]
        width, kv = (model[n] * model["head_dim"] for n in ("heads", "kv_heads"))
        hidden, layers, table = model["hidden"], model["layers"], model["hidden"] * model["vocab"]
        layer = 2 * hidden * (width + kv) + 3 * hidden * model["ffn"]
        prefill, decode = report["runs"]
        work = 2 * (layers * layer + table / 256) + 4 * layers * width * 257 / 2
        self.assertAlmostEqual(
            prefill["of_peak"] * prefill["peak_gflops"] * 1e9 / (work * prefill["tokens_per_s"]), 1,
            places=5)
        # The first of the tokens is generated before the clock starts: positions 65 to 72.
        read = 4 * (layers * (layer + 2 * hidden) + hidden + table + 2 * layers * kv * 69.5)
        self.assertAlmostEqual(
            decode["of_peak"] * decode["peak_gbs"] * 1e9 / (read * decode["tokens_per_s"]), 1,
            places=5)

    def test_machine_alone(self):
        level = quire.instruction_sets()[0]
        report = bench("--machine", "--runs", 1, QUIRE_ISA=level)
        self.check_machine(report["machine"], level)
        self.assertEqual((report["kernels"], report["runs"]), ([], []))
        self.assertEqual(report["asked"]["shape"], "tinyllama-1.1b")
        report = bench("--machine", "--runs", 1, "--threads", 1, ranks=2)
        self.assertEqual([row["threads"] for row in report["machine"]["by_threads"]], [1, 2])

    def test_kernels_alone(self):
        report = bench("-m", quire.DEMO, "--kernels", "--runs", 1)
        self.check_machine(report["machine"])
        self.assertEqual(report["runs"], [])
        levels = quire.instruction_sets()
        for kernel in report["kernels"]:
            self.assertLessEqual(KERNEL_KEYS, set(kernel))
            self.assertGreater(kernel["gflops"], 0)
            self.assertGreater(kernel["gbs"], 0)
            self.assertTrue(0 < kernel["of_peak"] < BOUND, kernel)
        names = {kernel["name"] for kernel in report["kernels"]}
        self.assertIn("product_f32", names)
        self.assertEqual("product_bf16" in names, levels[-1] in ("avx512_bf16", "amx"))
        for level in levels:
            for name in ("prefill_plain", "prefill_grouped", "decode_plain", "decode_grouped"):
                for kv in ("f32", "bf16", "q8_0"):
                    self.assertTrue(any(kernel["name"] == "attention_%s_kv_%s" % (name, kv) and
                                        kernel["isa"] == level for kernel in report["kernels"]))

    def test_table(self):
        """The table is on standard output, aligned, and the report goes to its file."""
        path = self.directory / "bench.json"
        result = quire.run("bench", "-m", quire.DEMO, "--prefill", 64, "--runs", 1,
                           "--method", "plain", "--machine", "--json", path)
        report = json.loads(path.read_text())
        lines = result.stdout.decode().splitlines()
        self.assertTrue(lines[0].startswith("The machine: "), result)
        row, = [line for line in lines if line.startswith(" prefill")]
        self.assertIn("%.1f" % report["runs"][0]["tokens_per_s"], row)

    def test_lists_that_are_wrong(self):
        for option, value in (("--shape", "llama-9"), ("--prefill", "0"), ("--prefill", "5,"),
                              ("--prefill", "a"), ("--decode-depth", "-1"), ("--method", "plain,"),
                              ("--method", "rope"), ("--runs", "0"), ("--generate", "0")):
            result = quire.attempt("bench", option, value)
            self.assertEqual(result.status, 2, result)
            self.assertEqual(len(result.errors), 1, result)
            self.assertIn(option, result.errors[0])
        result = quire.attempt("bench", "--shape", "phi-2", "-m", quire.DEMO)
        self.assertEqual(result.status, 2, result)

    def test_what_does_not_fit(self):
        """Refused before weights are made: with a length that no memory holds."""
        for ranks in (1, 2):
            result = quire.attempt("bench", "--shape", "llama-2-7b", "--prefill", 2000000000,
                                   "--machine", ranks=ranks)
            self.assertEqual(result.status, 1, result)
            self.assertEqual(len(result.errors), 1, result)
            for word in ("llama-2-7b", "memory", "free"):
                self.assertIn(word, result.errors[0])


if __name__ == "__main__":
    quire.main()
