"""Starting quire as a user does, and reading what it gives: the helpers of the end-to-end tests.

Each test script is a program: it ends with quire.main(), which gives 77 when everything had to be
skipped (CTest's sign for that).
"""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("QUIRE_BINARY", str(ROOT / "build" / "quire"))
SHARED = pathlib.Path(os.environ.get("QUIRE_SHARED", ROOT.parent / "shared"))
GOLDEN = ROOT / "tests" / "golden"
DEMO = ROOT / "launch" / "demo-model"

# Nothing rounded that the files hold: for comparisons with values made elsewhere.
EXACT = ["--kv", "f32", "--compute", "f32"]

ENVIRONMENT = dict(os.environ)
ENVIRONMENT.update({
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
})


class Result:
    """What a run left: its exit status, its streams, and quire's own lines of stderr (mpirun adds
    lines of its own when a run fails)."""

    def __init__(self, command, status, stdout, stderr):
        self.command = command
        self.status = status
        self.stdout = stdout
        self.stderr = stderr.decode("utf-8", "replace")

    @property
    def lines(self):
        return [line for line in self.stderr.splitlines() if line.startswith("quire:")]

    @property
    def errors(self):
        return [line for line in self.lines if not line.startswith("quire: warning:")]

    @property
    def json(self):
        return json.loads(self.stdout)

    def __str__(self):
        return "%s\nexit status %d\nstdout: %s\nstderr: %s" % (
            " ".join(self.command), self.status, self.stdout[:2000], self.stderr[:4000])


def command_of(arguments, ranks):
    """One rank is quire alone, several are an MPI job."""
    launcher = [] if ranks == 1 else ["mpirun", "-n", str(ranks)]
    return launcher + [BINARY] + [str(argument) for argument in arguments]


def attempt(*arguments, ranks=1, stdin=None, environment=None, timeout=100):
    """Runs quire and gives the Result, whatever it is. A run that hangs is an error. `environment`
    adds to the usual one, and takes away what is None."""
    command = command_of(arguments, ranks)
    variables = {**ENVIRONMENT, **(environment or {})}
    with subprocess.Popen(command, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                          env={name: value for name, value in variables.items()
                               if value is not None}) as process:
        try:
            stdout, stderr = process.communicate(stdin, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            raise AssertionError("still running after %d s: %s\n%s" % (
                timeout, " ".join(command), stderr.decode("utf-8", "replace"))) from None
    return Result(command, process.returncode, stdout, stderr)


def run(*arguments, **keywords):
    """Runs quire, which must succeed."""
    result = attempt(*arguments, **keywords)
    if result.status != 0:
        raise AssertionError("failed: %s" % result)
    return result


def report(*arguments, **keywords):
    """Runs quire with --json - and gives the parsed report: stdout must hold nothing else."""
    return run(*arguments, "--json", "-", **keywords).json


def instruction_sets():
    """Those that this machine has, the highest last."""
    levels = ["generic", "avx2", "avx512", "avx512_bf16", "amx"]
    understood = report("inspect", "-m", GOLDEN / "llama")["understood"]
    return levels[:levels.index(understood["isa_available"]) + 1]


def meshes(ranks, stages=2):
    """Every mesh of so many ranks and at most so many stages, as --mesh takes it."""
    return ["pp=%d,tp=%d,sp=%d" % (pp, tp, ranks // pp // tp)
            for pp in range(1, min(ranks, stages) + 1) if ranks % pp == 0
            for tp in range(1, ranks // pp + 1) if ranks // pp % tp == 0]


class Case(unittest.TestCase):
    """A test case with a directory of its own and access to the data beside the project."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="quire."))
        self.addCleanup(shutil.rmtree, self.directory)

    def shared(self, path):
        """A path of the shared data; without it the test is skipped, visibly."""
        if not (SHARED / path).exists():
            print("SKIP: %s: %s (no shared data)" % (self.id(), path), flush=True)
            self.skipTest("no shared data")
        return SHARED / path

    def needs_bf16(self):
        """Skips the test, visibly, on a machine without bf16 products."""
        if instruction_sets()[-1] not in ("avx512_bf16", "amx"):
            print("SKIP: %s (no bf16 products on this processor)" % self.id(), flush=True)
            self.skipTest("no bf16 products")

    def write(self, name, content):
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def write_tokens(self, name, ids):
        return self.write(name, "\n".join(str(int(i)) for i in ids) + "\n")

    def assert_close(self, got, expected, tolerance, scale=None, what=""):
        """Largest difference within tolerance times `scale` (default: the largest expected)."""
        self.assertEqual(got.shape, expected.shape, what)
        self.assertTrue(numpy.isfinite(got).all(), "%s: a value is not finite" % what)
        scale = numpy.abs(expected).max() if scale is None else scale
        difference = numpy.abs(got.astype(numpy.float64) - expected).max()
        self.assertLessEqual(difference, tolerance * scale,
                             "%s: off by %.3g, allowed %.3g" % (what, difference, tolerance * scale))


DTYPES = {"F32": numpy.float32, "F16": numpy.float16, "BF16": numpy.uint16, "I32": numpy.int32,
          "I64": numpy.int64}


def read_safetensors(path):
    """Arrays by name; bfloat16 as raw uint16."""
    data = pathlib.Path(path).read_bytes()
    length, = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        first, end = entry["data_offsets"]
        arrays[name] = numpy.frombuffer(data[8 + length + first:8 + length + end],
                                        DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def write_safetensors(path, arrays):
    """F32 arrays by name."""
    header, at = {}, 0
    for name, values in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape),
                        "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    pathlib.Path(path).write_bytes(pack_safetensors(
        header, b"".join(values.tobytes() for values in arrays.values())))


def pack_safetensors(header, body):
    """The bytes of a safetensors file with this header, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def safetensors_of(tensors):
    """The bytes of a safetensors file with these float32 arrays."""
    header, body = {}, b""
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape),
                        "data_offsets": [len(body), len(body) + tensor.nbytes]}
        body += tensor.tobytes()
    return pack_safetensors(header, body)


def main():
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun and len(result.skipped) == result.testsRun:
        sys.exit(77)
    if not result.testsRun:
        sys.exit("no test was run")
