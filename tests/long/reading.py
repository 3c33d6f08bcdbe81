"""Readings at length: a book's first 65,536 tokens, cut off again and again on changing numbers of
ranks, then asked; a haystack of 16 times the trained window with a pass key in it, killed and gone
on with on another number of ranks, asked in four wordings."""
import os
import signal
import subprocess
import time

import h5py
import numpy

import quire

SHIM = os.environ.get("QUIRE_CRASH_SHIM", str(quire.ROOT / "build" / "tests" / "libcrash_shim.so"))
TOKENS, INTERRUPTIONS = 65536, 6
FILLER = ["The grass is green.", "The sky is blue.", "The sun is yellow.", "Here we go.",
          "There and back again."]
WORDINGS = [" What is the pass key? The pass key is", " Tell me the pass key. The pass key is",
            " Which number is the pass key? The pass key is", " So the pass key is"]


class Reading(quire.Case):
    def command(self, book, *options):
        return ["ingest", "-m", quire.DEMO, *self.text, "-o", book, *quire.EXACT, *options]

    def ask(self, book, questions, count, ranks):
        words = [word for question in questions for word in ("-p", question)]
        report = quire.report("ask", "-m", quire.DEMO, "-c", book, *words, "-n", count, ranks=ranks)
        return report["answers"]


class Book(Reading):
    def interrupt(self, book, ranks, seconds, number):
        """Reads on, then gets the signal; gives the tokens committed."""
        with subprocess.Popen(quire.command_of(self.command(book, "--commit-every", "2s"), ranks),
                              env=quire.ENVIRONMENT, stderr=subprocess.DEVNULL,
                              start_new_session=True) as job:
            time.sleep(seconds)
            if number == signal.SIGKILL:
                os.killpg(job.pid, number)  # mpirun; its ranks follow within a second or two
            else:
                job.send_signal(number)
            job.wait()
        reading = quire.report("inspect", book, "--verify")["reading"]
        return reading["committed_tokens"], reading["complete"], job.returncode

    def test_book(self):
        ids = quire.run("tokenize", "-m", quire.DEMO, "-f", self.shared("books/moby-dick.txt"),
                        timeout=300).stdout.split()[:TOKENS]
        self.assertEqual(len(ids), TOKENS)
        self.text = ["--tokens", self.write("ids", b" ".join(ids))]
        book, whole = self.directory / "book.h5", self.directory / "whole.h5"
        quire.run(*self.command(whole), ranks=2, timeout=1800)
        before, done = 0, []
        for number in range(INTERRUPTIONS):
            kind = signal.SIGUSR1 if number % 2 else signal.SIGKILL
            tokens, complete, status = self.interrupt(book, 1 + number % 4, 4, kind)
            self.assertGreaterEqual(tokens, before)
            self.assertFalse(complete, "read before it was cut off")
            if kind == signal.SIGUSR1:
                self.assertEqual(status, 85)
            done.append("%d at %d" % (1 + number % 4, tokens))
            before = tokens
        print("cut off: " + ", ".join(done), flush=True)
        quire.run(*self.command(book), ranks=3, timeout=1800)
        with h5py.File(book) as got, h5py.File(whole) as expected:
            for name in ("keys", "values"):
                for layer in range(4):
                    self.assert_close(got[name][layer, :, :TOKENS].astype(numpy.float64),
                                      expected[name][layer, :, :TOKENS].astype(numpy.float64), 5e-5)
        questions = [" The whale", "\n\nCHAPTER", " \"Captain Ahab,\" said"]
        answers = [answer["tokens"] for answer in self.ask(book, questions, 24, 2)]
        self.assertEqual(answers, [answer["tokens"] for answer in self.ask(whole, questions, 24, 1)])


class Haystack(Reading):
    def test_pass_key(self):
        key = "48213"
        sentences = [FILLER[i % len(FILLER)] for i in range(580)]
        sentences.insert(217, "The pass key is %s. Remember it. %s is the pass key." % (key, key))
        ids = quire.run("tokenize", "-m", quire.DEMO, "-p", " ".join(sentences)).stdout.split()
        self.text = ["-f", self.write("haystack", " ".join(sentences))]
        self.assertGreaterEqual(len(ids), 16 * 256 - 32)
        book, whole = self.directory / "book.h5", self.directory / "whole.h5"
        quire.run(*self.command(whole), ranks=3)
        crash = {"LD_PRELOAD": SHIM, "CRASH_MATCH": "book.h5", "CRASH_RANK": "1", "CRASH_AT": "300"}
        result = quire.attempt(*self.command(book, "--commit-every", 512), ranks=3, environment=crash)
        self.assertNotEqual(result.status, 0, result)
        reading = quire.report("inspect", book, "--verify")["reading"]
        self.assertTrue(0 < reading["committed_tokens"] < len(ids), reading)
        quire.run(*self.command(book), ranks=2)
        answers = self.ask(book, WORDINGS, 6, 2)
        self.assertEqual([answer["text"] for answer in answers],
                         [answer["text"] for answer in self.ask(whole, WORDINGS, 6, 3)])
        self.assertEqual([answer["text"].strip() for answer in answers], [key] * len(WORDINGS))


if __name__ == "__main__":
    quire.main()
