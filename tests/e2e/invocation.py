"""The command line: help and version on stdout, wrong usage on stderr, the same on all ranks."""
import unittest

import quire

COMMANDS = ["generate", "perplexity", "passkey", "inspect", "capture"]


class Invocation(unittest.TestCase):
    def test_help(self):
        overview = quire.run("--help")
        for command in COMMANDS:
            self.assertIn(command, overview.stdout.decode())
            text = quire.run(command, "--help").stdout.decode()
            for option in ("-m MODEL_DIR", "--group", "--window", "--mesh", "--chunk", "--kv",
                           "--threads", "--json"):
                self.assertIn(option, text, command)
            self.assertTrue(all(len(line) <= 100 for line in text.splitlines()), text)
        self.assertEqual(overview.stderr, "")

    def test_help_is_printed_once(self):
        one = quire.run("generate", "--help").stdout
        self.assertEqual(quire.run("generate", "--help", ranks=3).stdout, one)

    def test_version(self):
        result = quire.run("--version")
        self.assertRegex(result.stdout.decode(), r"^quire \d+\.\d+\.\d+\n")
        self.assertEqual(result.stderr, "")

    def test_nothing(self):
        for ranks in (1, 3):
            result = quire.attempt(ranks=ranks)
            self.assertEqual(result.status, 2, result)
            self.assertEqual(len(result.errors), 1, result)
            self.assertEqual(result.stdout, b"")


if __name__ == "__main__":
    quire.main()
