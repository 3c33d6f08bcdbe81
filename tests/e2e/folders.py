"""The source's own rule: dependencies point downwards only (launch, dist, then partition and
kernels, which know neither MPI and HDF5 nor each other)."""
import re
import unittest

import quire

BELOW = {"launch": {"launch", "dist", "partition", "kernels"},
         "dist": {"dist", "partition", "kernels"},
         "partition": {"partition"},
         "kernels": {"kernels"}}


class Folders(unittest.TestCase):
    def test_includes(self):
        seen = 0
        for folder, allowed in BELOW.items():
            for path in sorted((quire.ROOT / folder).glob("*.[ch]")):
                text = path.read_text()
                for name in re.findall(r'^\s*#\s*include\s*"(\w+)/', text, re.MULTILINE):
                    self.assertIn(name, allowed, path)
                    seen += 1
                if folder in ("partition", "kernels"):
                    self.assertNotRegex(text, r"(?m)^\s*#\s*include\s*<(mpi|hdf5)", path)
        self.assertGreater(seen, 50)


if __name__ == "__main__":
    quire.main()
