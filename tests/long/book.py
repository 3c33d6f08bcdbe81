"""The first 131,072 tokens of a book, 512 windows of the demo model, on two ranks: losses that
stay level to the end, and no memory beyond the weights and the cache of keys and values."""
import os
import pathlib
import subprocess
import threading
import time

import quire

LENGTH, SHORT, RANKS = 131072, 2048, 2
LAYERS, KV_HEADS, HEAD = 4, 4, 32
# Keys rotated for the far zone, and values, in bf16; the near ring is part of the short run too.
KV_BYTES_PER_TOKEN = LAYERS * KV_HEADS * HEAD * 2 * 2
# Token ids (4 bytes) and losses (4, and 4 gathered) grow with the text as well.
OTHER_BYTES_PER_TOKEN = 12
SLACK = 8 << 20


class Peaks(threading.Thread):
    """Watches the processes of an MPI job: the largest resident memory of each rank, in bytes."""

    def __init__(self, job):
        super().__init__(daemon=True)
        self.job = job
        self.peaks = {}

    def run(self):
        while self.job.poll() is None:
            for path in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    if os.readlink(path / "exe") != os.path.realpath(quire.BINARY):
                        continue
                    status = dict(line.split(":", 1)
                                  for line in (path / "status").read_text().splitlines())
                    if int(status["PPid"]) == self.job.pid:
                        self.peaks[path.name] = int(status["VmHWM"].split()[0]) * 1024
                except (OSError, KeyError):
                    continue  # gone, or on its way out
            time.sleep(0.05)


class Book(quire.Case):
    def read(self, length):
        report = self.directory / "report.json"
        command = quire.command_of(
            ["perplexity", "-m", quire.DEMO, "-f", self.shared("books/moby-dick.txt"), "--no-plain",
             "--lengths", length, "--json", report], RANKS)
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=quire.ENVIRONMENT) as job:
            watch = Peaks(job)
            watch.start()
            self.assertEqual(job.wait(), 0)
            watch.join()
        self.assertEqual(len(watch.peaks), RANKS)
        return quire.json.loads(report.read_text()), max(watch.peaks.values())

    def test_book(self):
        _, peak_short = self.read(SHORT)
        report, peak = self.read(LENGTH)
        more = LENGTH - SHORT
        allowed = more * (KV_BYTES_PER_TOKEN // RANKS + OTHER_BYTES_PER_TOKEN) + SLACK
        print("peak of a rank: %.1f MiB at %d tokens, %.1f MiB at %d; growth allowed %.1f MiB" %
              (peak_short / 2**20, SHORT, peak / 2**20, LENGTH, allowed / 2**20), flush=True)
        self.assertLessEqual(peak - peak_short, allowed)
        row, = report["results"]
        self.assertEqual(row["length"], LENGTH)
        self.assertLess(row["self_extend"]["perplexity"], 40)
        self.assertLess(row["self_extend"]["perplexity_last_256"], 40)


if __name__ == "__main__":
    quire.main()
