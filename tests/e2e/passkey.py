"""passkey: the table's cells, and that the demo model shows the picture: within its window both
methods find the key; beyond it plain attention does not, and SelfExtend does."""
import quire


class Passkey(quire.Case):
    def passkey(self, *options, ranks=1):
        return quire.report("passkey", "-m", quire.DEMO, *options, ranks=ranks, timeout=200)

    def test_cells(self):
        report = self.passkey("--lengths", "200,333", "--depths", "0,40,100", "--trials", 2)
        cells = report["cells"]
        self.assertEqual([(cell["length"], cell["depth"]) for cell in cells],
                         [(length, depth) for length in (200, 333) for depth in (0, 40, 100)])
        for cell in cells:
            for method in ("plain", "self_extend"):
                self.assertIn(cell[method], (0, 0.5, 1))

    def test_picture(self):
        report = self.passkey("--lengths", "256,1024", "--depths", "0,50,100", "--trials", 3,
                              ranks=2)
        for cell in report["cells"]:
            self.assertEqual(cell["self_extend"], 1, cell)
            self.assertEqual(cell["plain"], cell["length"] == 256, cell)

    def test_left_out(self):
        for option, gone in (("--no-plain", "plain"), ("--no-self-extend", "self_extend")):
            report = self.passkey("--lengths", "200", "--depths", "50", "--trials", 1, option)
            cell, = report["cells"]
            self.assertNotIn(gone, cell)

    def test_same_seed_same_table(self):
        options = ["--lengths", "900", "--depths", "0,50", "--trials", 4, "--seed", 5]
        expected = self.passkey(*options, *quire.EXACT)["cells"]
        for ranks in (2, 3):
            self.assertEqual(self.passkey(*options, *quire.EXACT, ranks=ranks)["cells"], expected)

    def test_too_short(self):
        result = quire.attempt("passkey", "-m", quire.DEMO, "--lengths", "20")
        self.assertNotEqual(result.status, 0)
        self.assertEqual(len(result.errors), 1, result)
        self.assertRegex(result.errors[0], r"at least \d+")


if __name__ == "__main__":
    quire.main()
