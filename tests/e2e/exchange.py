"""What travels between ranks: --wire, --overlap, and where --timing says that the time went."""
import re

import quire

TEXT = ["-f", quire.ROOT / "launch" / "demo-text.txt", "--lengths", 1024]
PARTS = ["products_s", "attention_s", "elementwise_s", "head_s"]


def losses(ranks, *options):
    report = quire.report("perplexity", "-m", quire.DEMO, *TEXT, *options, ranks=ranks)
    return report, [report["results"][0][method]["nll_mean"] for method in ("plain", "self_extend")]


class Exchange(quire.Case):
    def test_halves(self):
        """The halves of a chunk give what the whole gives, on every mesh; the same run the same bits."""
        _, exact = losses(1, *quire.EXACT)
        for ranks, mesh in ((2, "tp=2"), (2, "sp=2"), (3, "sp=3"), (4, "pp=2,tp=2")):
            options = ["--mesh", mesh, "--overlap", "on", *quire.EXACT]
            report, first = losses(ranks, *options)
            self.assertTrue(report["understood"]["overlap"])
            self.assertEqual(losses(ranks, *options)[1], first)
            for got, want in zip(first, exact):
                self.assertLess(abs(got - want), 1e-4 * want, (ranks, mesh))

    def test_halves_where_they_pay(self):
        """Ranks of one node gain nothing from them; without other ranks there is nothing to send."""
        for ranks, option, used in ((2, "auto", False), (2, "off", False), (2, "on", True),
                                    (1, "on", False)):
            report, _ = losses(ranks, "--overlap", option)
            self.assertEqual(report["asked"]["overlap"], option)
            self.assertEqual(report["understood"]["overlap"], used, (ranks, option))

    def test_bf16_on_the_wire(self):
        """It rounds, and by little: within 0.5 % of the perplexity."""
        _, exact = losses(1, *quire.EXACT)
        for ranks, mesh, overlap in ((2, "tp=2", "off"), (2, "sp=2", "on"), (3, "sp=3", "off")):
            report, rounded = losses(ranks, "--mesh", mesh, "--overlap", overlap, "--wire", "bf16",
                                     *quire.EXACT)
            self.assertEqual(report["understood"]["wire"], "bf16")
            self.assertNotEqual(rounded, exact)
            for got, want in zip(rounded, exact):
                self.assertLess(abs(got - want), 0.005, (ranks, mesh))


class Timing(quire.Case):
    def test_report(self):
        """Each rank's parts add up, and come to no more than the run took."""
        for ranks in (1, 3):
            report = quire.report("generate", "-m", quire.DEMO, "-f",
                                  quire.ROOT / "launch" / "demo-text.txt", "-n", 20, "--ignore-eos",
                                  ranks=ranks)
            timings = report["timings"]
            self.assertEqual([entry["rank"] for entry in timings["ranks"]], list(range(ranks)))
            for entry in timings["ranks"]:
                for of in (entry, entry["reading"], entry["generating"]):
                    self.assertAlmostEqual(of["computation_s"], sum(of[part] for part in PARTS), 6)
                    self.assertGreater(of["products_s"], 0)
                    self.assertGreater(of["attention_s"], 0)
                    if ranks > 1:
                        self.assertGreater(of["communication_s"], 0)
                for phase in ("reading", "generating"):
                    whole = sum(entry[phase][part] for part in ("computation_s", "communication_s",
                                                                "waiting_s"))
                    self.assertLessEqual(whole, timings[phase + "_s"] * 1.01 + 0.01)
                self.assertAlmostEqual(
                    entry["products_s"],
                    entry["reading"]["products_s"] + entry["generating"]["products_s"], 6)
                self.assertGreater(entry["peak_bytes"], 1 << 20)
            self.assertEqual(report["understood"]["memory"]["peak_bytes_per_rank"],
                             max(entry["peak_bytes"] for entry in timings["ranks"]))

    def test_table(self):
        """One line for each rank and phase on standard error, and the results as without it."""
        arguments = ["generate", "-m", quire.DEMO, "-p", "Once upon a time", "-n", 8, "--ignore-eos"]
        plain = quire.run(*arguments, ranks=2)
        timed = quire.run(*arguments, "--timing", ranks=2)
        self.assertEqual(timed.stdout, plain.stdout)
        rows = [line.split() for line in timed.stderr.splitlines()
                if re.match(r" *\d+ +(reading|generating) ", line)]
        self.assertEqual([row[:2] for row in rows],
                         [[str(rank), phase] for rank in range(2)
                          for phase in ("reading", "generating")])
        for row in rows:
            seconds = [float(cell) for cell in row[2:9]]
            self.assertAlmostEqual(seconds[0], sum(seconds[1:5]), delta=0.003)
        self.assertNotIn("seconds of", plain.stderr)


if __name__ == "__main__":
    quire.main()
