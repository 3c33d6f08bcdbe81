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

    def test_bindings(self):
        """Whoever bound the ranks: one thread for each core that a rank has, none of them twice."""
        cpus = sorted(os.sched_getaffinity(0))
        binding = "OMPI_MCA_hwloc_base_binding_policy"
        words = understood(ranks=1)
        self.assertEqual((words["cpus_of_rank"], words["cpus_of_node"], words["ranks_on_node"]),
                         (len(cpus), len(cpus), 1))
        self.assertEqual((words["threads_from"], words["binding_released"]), ("cores", False))
        self.assertEqual(words["cores_of_rank"], words["cores_of_node"])
        try:
            os.sched_setaffinity(0, cpus[:1])
            words = understood()
            self.assertEqual((words["threads"], words["cpus_of_rank"]), (1, 1))
            self.assertEqual(understood(ranks=2)["threads"], 1)
        finally:
            os.sched_setaffinity(0, cpus)
        if len(cpus) < 2:
            return
        words = understood(ranks=2, **{binding: "core"})
        self.assertEqual((words["threads"], words["cores_of_rank"], words["cores_of_node"]), (1, 1, 2))
        self.assertFalse(words["binding_released"])

    def test_binding_of_nobody(self):
        """Open MPI binds a rank to one core unless told otherwise: two ranks have all cores then."""
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("one CPU")
        words = understood(ranks=2, OMPI_MCA_hwloc_base_binding_policy=None,
                           OMPI_MCA_rmaps_base_oversubscribe=None)
        self.assertTrue(words["binding_released"])
        cores = understood()["cores_of_node"]
        self.assertEqual(words["cores_of_node"], cores)
        self.assertEqual(words["threads"], (cores + 1) // 2)
        self.assertEqual(words["cores_of_rank"], (cores + 1) // 2)

    def test_tasks_of_slurm(self):
        """What Slurm gave the task counts, also where nothing enforces it."""
        words = understood(SLURM_CPUS_PER_TASK="1")
        self.assertEqual((words["threads"], words["threads_from"]), (
            1, "slurm" if words["cores_of_rank"] > 1 else "cores"))
        many = understood(SLURM_CPUS_PER_TASK="4096", SLURM_CPUS_ON_NODE="1")
        self.assertEqual((many["threads"], many["threads_from"]), (many["cores_of_rank"], "cores"))
        self.assertEqual(understood(SLURM_CPUS_ON_NODE="2", ranks=2)["threads"], 1)
        asked = understood("--threads", 2, SLURM_CPUS_PER_TASK="1")
        self.assertEqual((asked["threads"], asked["threads_from"]), (2, "asked"))

    def test_crowded_threads_are_warned_of(self):
        """All ranks' threads on one CPU is what a launcher's binding can do."""
        cpus = len(os.sched_getaffinity(0))
        result = quire.run("inspect", "-m", quire.GOLDEN / "llama", "--threads", cpus + 1)
        self.assertEqual(len([line for line in result.lines if "--threads" in line]), 1, result)


if __name__ == "__main__":
    quire.main()
