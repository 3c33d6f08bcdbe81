"""Readings that are killed: at chosen writes and at random moments, one rank or all. The file always
opens, the last commit is always whole, and what is read on is what an uninterrupted run reads."""
import os
import pathlib
import random
import signal
import subprocess
import time
import uuid

import h5py
import numpy

import quire

SHIM = os.environ.get("QUIRE_CRASH_SHIM", str(quire.ROOT / "build" / "tests" / "libcrash_shim.so"))
KILLS = int(os.environ.get("QUIRE_KILLS", "20"))
CHUNK = 64


class Survival(quire.Case):
    """A text of the demo model, committed after each of its chunks."""
    TOKENS = 1500

    def setUp(self):
        super().setUp()
        self.book = self.directory / "book.h5"
        words = (quire.ROOT / "launch" / "demo-text.txt").read_text()
        ids = quire.run("tokenize", "-m", quire.DEMO, "-p", words[:12000]).stdout.split()
        self.assertGreater(len(ids), self.TOKENS)
        self.ids = self.write("ids", b" ".join(ids[:self.TOKENS]))

    def command(self, book=None):
        return ["ingest", "-m", quire.DEMO, "--tokens", self.ids, "-o", book or self.book, "--chunk",
                CHUNK, "--commit-every", CHUNK, "--group", 12, "--window", 32, "--threads", 1, *quire.EXACT]

    def ingest(self, ranks=1, **crash):
        environment = {"CRASH_" + name.upper(): str(value) for name, value in crash.items()}
        if crash:
            environment.update(LD_PRELOAD=SHIM, CRASH_MATCH="book.h5")
        return quire.attempt(*self.command(), ranks=ranks, environment=environment)

    def whole(self, ranks=1):
        """An uninterrupted run's arrays."""
        book = self.directory / ("whole-%d.h5" % ranks)
        if not book.exists():
            quire.run(*self.command(book), ranks=ranks)
        return self.arrays(book)

    def arrays(self, book=None):
        with h5py.File(book or self.book) as file:
            return [file[name][:, :, :self.TOKENS] for name in ("keys", "values")] + [
                file["tokens"][:self.TOKENS]]

    def assert_same(self, expected):
        for got, wanted in zip(self.arrays(), expected):
            self.assertTrue((got == wanted).all())

    def committed(self):
        """Of a file that must open and be whole; 0 where none was made yet."""
        if not self.book.exists():
            return 0
        report = quire.report("inspect", self.book, "--verify")
        h5py.File(self.book).close()
        return report["reading"]["committed_tokens"]


class Writes(Survival):
    TOKENS = 150

    def count(self, ranks=1, rank=0):
        count = self.directory / "count"
        result = self.ingest(ranks, count=count, rank=rank)
        self.assertEqual(result.status, 0, result)
        self.book.unlink()
        return int(count.read_text())

    def points(self, calls):
        """8 of the calls, or all (QUIRE_KILLS)."""
        if KILLS >= 200:
            return range(1, calls + 1)
        return sorted({1, calls, *random.Random(5).sample(range(1, calls + 1), 6)})

    def test_each_write(self):
        """Killed before a call that changes the file, and in the middle of what it writes."""
        expected = self.whole()
        calls = self.count()
        self.assertGreater(calls, 100)
        before = 0
        for point in self.points(calls):
            for what in ("kill", "torn"):
                result = self.ingest(at=point, do=what)
                self.assertEqual(result.status, -signal.SIGKILL, result)
                tokens = self.committed()
                self.assertGreaterEqual(tokens, before)
                self.assertEqual(tokens % CHUNK if tokens < self.TOKENS else 0, 0)
                before = tokens if what == "torn" else before
                result = self.ingest()
                self.assertEqual(result.status, 0, result)
                self.assert_same(expected)
                self.book.unlink()

    def test_full_or_broken_disk(self):
        """A write that fails: one message, the last commit as it was, and the way on."""
        expected = self.whole()
        last = self.count() - 2  # before the file is closed
        for point in (last, last - 40, last // 2):
            for what, word in (("enospc", "No space left"), ("eio", "Input/output error")):
                result = self.ingest(at=point, do=what)
                self.assertEqual(result.status, 1, result)
                self.assertEqual(len(result.errors), 1, result)
                self.assertIn(word, result.errors[0])
                self.assertIn("last commit is intact", result.errors[0])
                self.committed()
                self.assertEqual(self.ingest().status, 0)
                self.assert_same(expected)
                self.book.unlink()

    def test_failure_on_another_rank(self):
        result = self.ingest(3, at=20, do="enospc", rank=1)
        self.assertEqual(result.status, 1, result)
        self.assertEqual(len(result.errors), 1, result)
        self.assertIn("rank 1", result.errors[0])
        self.committed()


class Kills(Survival):
    """kill -9 at random moments."""

    def start(self, ranks):
        self.mark = str(uuid.uuid4())
        return subprocess.Popen(quire.command_of(self.command(), ranks), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                env={**quire.ENVIRONMENT, "QUIRE_TEST_MARK": self.mark})

    def processes(self):
        """Of the job's ranks."""
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if (os.readlink(path / "exe") == os.path.realpath(quire.BINARY) and
                        self.mark.encode() in (path / "environ").read_bytes()):
                    found.append(int(path.name))
            except OSError:
                continue  # gone, or on its way out
        return found

    def kill(self, job, random_numbers):
        """One rank, all ranks, or mpirun alone; True when something was there to be killed."""
        ranks = self.processes()
        choice = random_numbers.randrange(3)
        victims = [random_numbers.choice(ranks)] if choice == 0 and ranks else ranks
        if choice == 2 or not ranks:
            victims = [job.pid]
        for victim in victims:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return job.wait() != 0

    def run_killed(self, seed, ranks_of, kills):
        """Reads on and on, killed at random; gives how many kills it survived."""
        random_numbers = random.Random(seed)
        done, before = 0, 0
        while done < kills:
            job = self.start(ranks_of(random_numbers))
            time.sleep(random_numbers.uniform(0.2, 1.2))
            done += self.kill(job, random_numbers)
            tokens = self.committed()
            self.assertGreaterEqual(tokens, before)
            before = tokens
            if tokens == self.TOKENS and done < kills:
                self.finish(ranks_of)
                self.book.unlink()
                before = 0
        self.finish(ranks_of)
        return done

    def finish(self, ranks_of):
        ranks = ranks_of(random.Random(0))
        self.assertEqual(self.ingest(ranks).status, 0)
        self.check()

    def test_same_mesh(self):
        expected = self.whole(2)
        self.check = lambda: self.assert_same(expected)
        self.assertEqual(self.run_killed(1, lambda _: 2, KILLS // 2), KILLS // 2)

    def test_changing_meshes(self):
        expected = self.whole()

        def check():
            for got, wanted in zip(self.arrays(), expected):
                self.assert_close(got.astype(numpy.float64), wanted.astype(numpy.float64), 5e-5)
        self.check = check
        self.run_killed(2, lambda numbers: numbers.randrange(1, 5), KILLS - KILLS // 2)


class Locks(Survival):
    def test_two_jobs(self):
        """The second waits ten seconds, then says why; a reader needs no lock. The lock ends with its
        holder."""
        self.assertEqual(self.ingest().status, 0)
        whole = self.arrays()
        self.book.unlink()
        environment = {**quire.ENVIRONMENT, "LD_PRELOAD": SHIM, "CRASH_MATCH": "nothing"}
        with subprocess.Popen(quire.command_of(self.command(), 1), env=environment,
                              stderr=subprocess.DEVNULL) as job:
            for _ in range(500):
                time.sleep(0.01)
                if self.book.exists():
                    break
            job.send_signal(signal.SIGSTOP)
            if self.committed() == self.TOKENS:
                job.send_signal(signal.SIGCONT)
                self.skipTest("read before it could be stopped")
            start = time.monotonic()
            result = self.ingest()
            self.assertEqual(result.status, 1, result)
            self.assertIn("lock", result.errors[0])
            self.assertGreater(time.monotonic() - start, 9)
            self.committed()
            job.kill()
        self.assertEqual(self.ingest(2).status, 0)
        for got, wanted in zip(self.arrays(), whole):
            self.assert_close(got.astype(numpy.float64), wanted.astype(numpy.float64), 5e-5)

    def test_signals(self):
        """SIGUSR1 through mpirun, SIGTERM to one process: a commit, and 85."""
        for ranks, number in ((2, signal.SIGUSR1), (1, signal.SIGTERM)):
            with subprocess.Popen(quire.command_of(self.command(), ranks), env=quire.ENVIRONMENT,
                                  stderr=subprocess.PIPE) as job:
                for _ in range(1000):
                    time.sleep(0.01)
                    if self.book.exists():
                        break
                job.send_signal(number)
                errors = job.communicate()[1].decode()
            self.assertEqual(job.returncode, 85, errors)
            self.assertIn("start again", errors)
            self.committed()
            self.assertEqual(self.ingest(ranks).status, 0)
            self.book.unlink()

    def test_slurm(self):
        """The end of the job's time, as squeue or the environment tells it, stops in time."""
        soon = time.time() + 20
        result = quire.attempt(*self.command(), environment={"SLURM_JOB_END_TIME": str(int(soon))})
        self.assertEqual(result.status, 85, result)
        self.assertIn("job end", result.stderr)
        squeue = self.directory / "squeue"
        squeue.write_text("#!/bin/sh\necho %s\n" % time.strftime("%Y-%m-%dT%H:%M:%S",
                                                                   time.localtime(soon)))
        squeue.chmod(0o755)
        path = "%s:%s" % (self.directory, os.environ["PATH"])
        result = quire.attempt(*self.command(), environment={"SLURM_JOB_ID": "17", "PATH": path})
        self.assertEqual(result.status, 85, result)
        squeue.write_text("#!/bin/sh\necho N/A\n")
        result = quire.attempt(*self.command(), environment={"SLURM_JOB_ID": "17", "PATH": path})
        self.assertEqual(result.status, 0, result)


class SmallDisk(Survival):
    def test_no_room(self):
        """Found from the size, before anything is read: the reading's, and what is left."""
        place = self.directory / "small"
        place.mkdir()
        if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place],
                                          stderr=subprocess.DEVNULL, check=False).returncode:
            print("SKIP: %s (no right to mount)" % self.id(), flush=True)
            self.skipTest("no right to mount")
        self.addCleanup(subprocess.run, ["umount", place], check=True)
        result = quire.attempt(*self.command(place / "book.h5"), ranks=2)
        self.assertEqual(result.status, 1, result)
        self.assertEqual(len(result.errors), 1, result)
        self.assertIn("size", result.errors[0])
        self.assertEqual(list(place.iterdir()), [])


if __name__ == "__main__":
    if not pathlib.Path(SHIM).exists():
        raise SystemExit("no %s" % SHIM)
    quire.main()
