"""What quire takes of the machine: instruction level, OpenBLAS's kernels, threads."""
import os
import unittest

import quire

# OpenBLAS 0.3.21's core types whose kernels use the instructions of each level.
CORES = {"generic": {"Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Opteron",
                     "Barcelona", "Opteron_SSE3", "Atom", "Bobcat", "Nano"},
         "avx2": {"Haswell", "Zen", "Excavator"},
         "avx512": {"SkylakeX", "Cooperlake", "SapphireRapids"}}
CORES["avx512_bf16"] = CORES["amx"] = CORES["avx512"]


def understood(*options, ranks=1, **environment):
    """The report's words, with OpenBLAS's core type as `environment` has it, else free."""
    return quire.report("inspect", "-m", quire.GOLDEN / "llama", *options, ranks=ranks,
                        environment={"OPENBLAS_CORETYPE": None, **environment})["understood"]


class Machine(unittest.TestCase):
    def test_best_kernels_by_itself(self):
        """OpenBLAS alone takes its AVX2 kernels on processors that it does not know."""
        for ranks in (1, 2):
            best = understood(ranks=ranks)
            self.assertEqual(best["isa"], quire.instruction_sets()[-1])
            self.assertIn(best["blas_core"], CORES[best["isa"]])

    def test_forced_level(self):
        for level in quire.instruction_sets():
            forced = understood(QUIRE_ISA=level)
            self.assertEqual(forced["isa"], level)
            self.assertIn(forced["blas_core"], CORES[level])

    def test_arithmetic(self):
        """bf16 by itself where the level has it, f32 elsewhere and on request; never what it does not
        have."""
        for level in quire.instruction_sets():
            has = level in ("avx512_bf16", "amx")
            best = "bf16" if has else "f32"
            self.assertEqual(understood(QUIRE_ISA=level)["compute"], best)
            self.assertEqual(understood("--compute", "auto", QUIRE_ISA=level)["compute"], best)
            self.assertEqual(understood("--compute", "f32", QUIRE_ISA=level)["compute"], "f32")
            for ranks in (1, 2):
                result = quire.attempt("inspect", "-m", quire.GOLDEN / "llama", "--compute", "bf16",
                                       ranks=ranks, environment={"QUIRE_ISA": level})
                self.assertEqual(result.status, 0 if has else 1, result)
                if not has:
                    self.assertEqual(len(result.errors), 1, result)
                    for word in ("--compute bf16", level, "avx512_bf16 or amx", "--compute f32"):
                        self.assertIn(word, result.errors[0])

    def test_variable_of_another_level(self):
        """What a cluster's profile sets for other programs does not slow this one down."""
        best = quire.instruction_sets()[-1]
        self.assertIn(understood(OPENBLAS_CORETYPE="Prescott")["blas_core"], CORES[best])

    def test_threads(self):
        cpus = len(os.sched_getaffinity(0))
        self.assertEqual(understood()["threads"], cpus)
        self.assertEqual(understood(ranks=2)["threads"], max(1, cpus // 2))
        self.assertEqual(understood(ranks=2 * cpus)["threads"], 1)
        self.assertEqual(understood("--threads", 1, ranks=2)["threads"], 1)

    def test_crowded_threads_are_warned_of(self):
        """All ranks' threads on one CPU is what a launcher's binding can do."""
        cpus = len(os.sched_getaffinity(0))
        result = quire.run("inspect", "-m", quire.GOLDEN / "llama", "--threads", cpus + 1)
        self.assertEqual(len([line for line in result.lines if "--threads" in line]), 1, result)


if __name__ == "__main__":
    quire.main()
