#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Unit tests of results.py: what check writes is read right, however it comes in pieces."""

import sys
import tempfile
import unittest
import xml.etree.ElementTree as ET
from pathlib import Path

sys.dont_write_bytecode = True
import results as res  # noqa: E402

TESTS = ["generic/001", "generic/002", "generic/003", "generic/004", "generic/005", "generic/1200"]

# As check writes it.
CHECK = """\
FSTYP         -- ext4
PLATFORM      -- Linux/x86_64 host 7.3.4

generic/001        7s
generic/002        [not run] Reflink not supported
generic/003 [failed, exit status 1]- output mismatch (see /results/generic/003.out.bad)
    --- tests/generic/003.out\t2025-01-01
    +++ /results/generic/003.out.bad
    @@ -1 +1,2 @@
     generic/004        1s
    ...
    (Run 'diff -u ...'  to see the entire diff)

HINT: You _MAY_ be missing kernel fix:
generic/004 5s ...  6s
generic/005 _check_dmesg: something found in dmesg (see /results/generic/005.dmesg)

generic/1200        [expunged]
Ran: generic/001 generic/003 generic/004 generic/005
Not run: generic/002
Failures: generic/003 generic/005
Failed 2 of 4 tests
"""
OUTCOMES = ["passed", "notrun", "failed", "passed", "failed", "excluded"]


def read(text, step, tests=TESTS):
    output = res.Output(tests)
    found = []
    for at in range(0, len(text), step):
        found += output.feed(text[at:at + step])
    return output, found


class Reading(unittest.TestCase):
    def test_any_pieces(self):
        for step in (1, 2, 3, 7, 64, len(CHECK)):
            output, found = read(CHECK, step)
            self.assertEqual([(r.test, r.outcome) for r in found], list(zip(TESTS, OUTCOMES)), f"in steps of {step}")
            self.assertEqual(output.end("died"), [])

    def test_reasons(self):
        _, found = read(CHECK, 5)
        self.assertEqual(found[1].reason, "Reflink not supported")
        self.assertEqual(found[2].reason, "[failed, exit status 1]- output mismatch")
        self.assertIn("generic/003.out.bad", found[2].text)
        self.assertEqual(found[4].reason, "_check_dmesg: something found in dmesg")

    def test_name_before_its_line_ends(self):
        output, found = read("generic/001        ", 4)
        self.assertEqual((output.test, found), ("generic/001", []))

    def test_death_in_a_test(self):
        output, found = read(CHECK[:CHECK.index("generic/004 5s") + 13], 6)
        self.assertEqual([r.outcome for r in found], OUTCOMES[:3])
        last, = output.end("the kernel panicked")
        self.assertEqual((last.test, last.outcome, last.reason), ("generic/004", "failed", "the kernel panicked"))

    def test_death_after_a_failure(self):
        output, _ = read(CHECK[:CHECK.index("HINT")], 6)
        last, = output.end("the kernel panicked")
        self.assertEqual((last.test, last.reason), ("generic/003", "[failed, exit status 1]- output mismatch"))

    def test_interruption_is_no_result(self):
        output, _ = read("generic/001  ", 1)
        self.assertEqual(output.end(None), [])

    def test_nothing_but_trouble(self):
        output, found = read("check: failed to mkfs $SCRATCH_DEV using specified options\n", 9)
        self.assertEqual((found, output.end("died")), ([], []))
        self.assertIn("failed to mkfs", output.other)

    def test_only_tests_that_were_asked_for(self):
        _, found = read("generic/999        7s\ngeneric/001        7s\n", 5)
        self.assertEqual([r.test for r in found], ["generic/001"])


class Choosing(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        for name, text in {
            "generic": "# a comment\n001 auto quick rw\n002 auto clone quick\n013 auto\n1200 quick\nnew x\n",
            "ext4": "001 auto quick\n",
        }.items():
            (Path(self.directory.name) / name).mkdir()
            (Path(self.directory.name) / name / "group.list").write_text(text)

    def select(self, arguments):
        return res.select(Path(self.directory.name), arguments.split())

    def test_groups(self):
        self.assertEqual(self.select("-g quick"), ["generic/001", "generic/002", "generic/1200"])
        self.assertEqual(self.select("-g auto,quick -x clone"), ["generic/001", "generic/013", "generic/1200"])
        self.assertEqual(self.select("-g ext4/auto"), ["ext4/001"])
        self.assertEqual(len(self.select("-g all")), 4)
        self.assertEqual(self.select("-g nosuchgroup"), [])

    def test_names(self):
        self.assertEqual(self.select("generic/013 ext4/001"), ["ext4/001", "generic/013"])
        self.assertEqual(self.select("generic/0* -e generic/002,generic/001"), ["generic/013"])
        self.assertRaises(SystemExit, self.select, "generic/0* -e generic/003")
        self.assertRaises(SystemExit, self.select, "generic/0* -e 002")
        with self.assertRaises(SystemExit):
            self.select("--large-fs")


class Summing(unittest.TestCase):
    def setUp(self):
        self.results = {r.test: r for r in read(CHECK, 50)[1]}

    def test_file(self):
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("".join(r.line() for r in self.results.values()) + "generic/077\tpass")
            file.flush()
            back = res.load(Path(file.name))
        self.assertEqual({t: (r.outcome, r.reason) for t, r in back.items()},
                         {t: (r.outcome, r.reason) for t, r in self.results.items()})

    def test_summary(self):
        text = res.summary("title", TESTS + ["generic/006"], self.results, {}, None)
        self.assertIn("4 run: 2 passed, 2 failed; 1 not run, 1 excluded, 1 left, of 7", text)
        self.assertIn("Failed:\n  generic/003 ", text)
        self.assertIn("   1  Reflink not supported: generic/002", text)

    def test_expected(self):
        known = {"generic/003": "known", "generic/001": "thought so"}
        text = res.summary("title", TESTS, self.results, known, None)
        self.assertIn("Failed:\n  generic/005 ", text)
        self.assertIn("Failed as expected:\n  generic/003   known", text)
        self.assertIn("passed: take them off the list:\n  generic/001 ", text)

    def test_expected_file(self):
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("# words\n\ngeneric/001 * dax,ram one reason\ngeneric/002 ext4 * another\n")
            file.flush()
            of = lambda fs, config: res.expected(Path(file.name), fs, config)  # noqa: E731
            self.assertEqual(of("rdaxfs", "dax"), {"generic/001": "one reason"})
            self.assertEqual(of("ext4", "disk"), {"generic/002": "another"})

    def test_baseline(self):
        before = dict(self.results)
        before["generic/003"] = res.Result("generic/003", "passed")
        before["generic/001"] = res.Result("generic/001", "failed")
        before["generic/002"] = res.Result("generic/002", "passed")
        text = res.summary("title", TESTS, self.results, {}, before)
        head = text[:text.index("\nFailed:")]
        self.assertIn("did not in the baseline:\n  generic/003 ", head)
        self.assertNotIn("generic/005", head)
        self.assertIn("was run in the baseline:\n  generic/002 ", head)
        self.assertIn("failed in the baseline:\n  generic/001", head)

    def test_xunit(self):
        with tempfile.NamedTemporaryFile() as file:
            self.results["generic/003"].text += "\x00\x1b"
            res.write_xunit(Path(file.name), "name", self.results)
            suite = ET.parse(file.name).getroot()
        self.assertEqual((suite.get("tests"), suite.get("failures"), suite.get("skipped")), ("6", "2", "2"))
        failed = [case.get("name") for case in suite if case.find("failure") is not None]
        self.assertEqual(failed, ["generic/003", "generic/005"])


if __name__ == "__main__":
    unittest.main()
