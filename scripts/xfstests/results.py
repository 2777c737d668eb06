# SPDX-License-Identifier: GPL-2.0
"""Tests of xfstests and what became of them: choosing, reading check's output, summing up."""

import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from fnmatch import fnmatch

# A test's name where check begins to speak of it.
NAME = re.compile(r"([a-z0-9]+/\d{3,4})\b[ ]?(.*)")
# What follows the name of a test that passed: how long it took last time, and now.
PASSED = re.compile(r"(\s*\d+s \.\.\. )?\s*\d+s\s*")
# What follows the last test.
CLOSING = re.compile(r"(Ran|Not run|Failures): |Passed all |Failed \d+ of |Interrupted!")

OUTCOMES = ("passed", "failed", "notrun", "excluded")


class Result:
    """What became of a test. `reason` is one line, `text` all that check said."""

    def __init__(self, test, outcome, seconds=0.0, reason="", text=""):
        assert outcome in OUTCOMES
        self.test, self.outcome, self.seconds, self.reason, self.text = test, outcome, seconds, reason, text

    def line(self):
        """As the file of results has it."""
        reason = re.sub(r"\s+", " ", self.reason).strip()
        return f"{self.test}\t{self.outcome}\t{self.seconds:.0f}\t{reason}\n"


def load(path):
    """The results in a file, by test; the last one of a test counts. An incomplete last line is none."""
    results = {}
    for line in path.read_text().splitlines(keepends=True):
        fields = line.rstrip("\n").split("\t")
        if line.endswith("\n") and len(fields) == 4:
            results[fields[0]] = Result(fields[0], fields[1], float(fields[2]), fields[3])
    return results


def expected(path, fs, config):
    """Why tests are expected to fail, by test: `TEST FS CONFIG REASON`, where FS and CONFIG may be `*`."""
    reasons = {}
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        test, fss, configs, reason = line.split(None, 3)
        if (fss == "*" or fs in fss.split(",")) and (configs == "*" or config in configs.split(",")):
            reasons[test] = reason
    return reasons


def groups(directory):
    """The groups of each test in a directory of tests, as its group.list has them."""
    tests = {}
    for line in (directory / "group.list").read_text().splitlines():
        words = line.split("#")[0].split()
        if words and re.fullmatch(r"\d{3,4}", words[0]):
            tests[f"{directory.name}/{words[0]}"] = set(words[1:])
    return tests


def select(directory, arguments):
    """The names of the tests that check would run for these arguments, in order."""

    def in_group(group):
        sub, _, name = group.rpartition("/")
        members = groups(directory / (sub or "generic"))
        return {test for test, of in members.items() if name == "all" or name in of}

    chosen, excluded = set(), set()
    words = iter(arguments)
    for word in words:
        if word in ("-g", "-x", "-e"):
            values = next(words, "").split(",")
            if word == "-e":
                for test in values:
                    sub = test.rpartition("/")[0]
                    if not sub or test not in groups(directory / sub):
                        raise SystemExit(f"xfstests: -e {test}: there is no such test")
                excluded.update(values)
            else:
                for group in values:
                    (chosen if word == "-g" else excluded).update(in_group(group))
        elif word.startswith("-"):
            raise SystemExit(f"xfstests: TESTS= takes -g, -x, -e and names of tests, not {word}")
        else:
            sub, _, pattern = word.partition("/")
            chosen.update(test for test in groups(directory / sub) if fnmatch(test, f"{sub}/{pattern}"))
    return sorted(chosen - excluded, key=lambda test: (test.split("/")[0], int(test.split("/")[1])))


class Output:
    """Reads what check writes, as it comes, for the tests that it was told to run.

    check writes the name of a test, and after the test the rest of the line; then, after a
    failure, the differences, indented, until the name of the next test.
    """

    def __init__(self, tests):
        self.expected = set(tests)
        # The test that runs or whose differences come, and what was said of it.
        self.test, self.text = None, ""
        self.rest = ""
        # What belongs to no test.
        self.other = ""

    def feed(self, text):
        """Takes more output; returns the results that it completes."""
        done = []
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            done += self.begin(line)
            if self.test:
                self.text += line + "\n"
                done += self.settled()
            else:
                self.other += line + "\n"
        # The name of a test comes without the end of its line.
        if self.rest.endswith(" "):
            done += self.begin(self.rest)
        return done

    def begin(self, line):
        """If a line begins with the name of another test, or closes the run, the one before is complete."""
        match = NAME.match(line)
        begins = match and match[1] in self.expected and match[1] != self.test
        if not begins and not CLOSING.match(line):
            return []
        done = [self.verdict()] if self.test else []
        self.test, self.text = (match[1], "") if begins else (None, "")
        self.expected.discard(self.test)
        return done

    def settled(self):
        """The result if the first line says it all: nothing follows upon success."""
        if self.text.count("\n") != 1:
            return []
        result = self.verdict()
        if result.outcome == "failed":
            return []
        self.test, self.text = None, ""
        return [result]

    def verdict(self):
        first, _, more = self.text.partition("\n")
        match = NAME.match(first)
        said = match[2] if match else first
        if PASSED.fullmatch(said):
            return Result(self.test, "passed")
        if "[expunged]" in said:
            return Result(self.test, "excluded", reason="[expunged]")
        if "[not run]" in said:
            return Result(self.test, "notrun", reason=said.split("[not run]", 1)[1].strip())
        reason = said.strip(" -") or next(iter(more.split("\n")), "").strip() or "failed"
        # Without the names of files, which differ from run to run.
        return Result(self.test, "failed", reason=re.sub(r" \(see .*", "", reason), text=self.text)

    def end(self, why):
        """The output is over, and `why` says how; None if the run was interrupted.

        A test that had begun is over as well: with the result that was coming, or failed.
        """
        if not self.test or why is None:
            return []
        if "\n" in self.text:
            result = self.verdict()
        else:
            result = Result(self.test, "failed", reason=why, text=self.rest)
        self.test = None
        return [result]


def by_reason(tests, reasons):
    """Lines `N reason: tests`, the most frequent first."""
    members = defaultdict(list)
    for test in tests:
        members[reasons(test)].append(test)
    for reason, names in sorted(members.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"{len(names):4}  {reason}: {' '.join(names)}"


def summary(title, tests, results, known, baseline):
    """A text that says how many tests ended how, which failed, and why others were not run."""
    of = {outcome: [t for t in tests if t in results and results[t].outcome == outcome] for outcome in OUTCOMES}
    left = [test for test in tests if test not in results]
    lines = [title, f"{len(of['passed']) + len(of['failed'])} run: {len(of['passed'])} passed, {len(of['failed'])} failed; "
             f"{len(of['notrun'])} not run, {len(of['excluded'])} excluded, {len(left)} left, of {len(tests)}"]

    def section(name, entries):
        entries = list(entries)
        if entries:
            lines.extend(["", f"{name}:", *entries])

    def failure(test):
        return f"  {test:12}  {results[test].reason}"

    if baseline is not None:
        def was(test):
            return baseline[test].outcome if test in baseline else "absent"
        section("Failed, and did not in the baseline",
                (f"{failure(t)} (was: {was(t)})" for t in of["failed"] if was(t) != "failed"))
        section("Not run, and was run in the baseline",
                (f"  {t:12}  {results[t].reason} (was: {was(t)})" for t in of["notrun"] if was(t) in ("passed", "failed")))
        section("Passed, and failed in the baseline", (f"  {t}" for t in of["passed"] if was(t) == "failed"))
        section("Run, and was not run in the baseline",
                (f"  {t}" for t in of["passed"] + of["failed"] if was(t) == "notrun"))
    section("Failed", (failure(test) for test in of["failed"] if test not in known))
    section("Failed as expected", (f"  {test:12}  {known[test]}" for test in of["failed"] if test in known))
    section("Expected to fail, and passed: take them off the list",
            (f"  {test:12}  {known[test]}" for test in of["passed"] if test in known))
    section("Not run", by_reason(of["notrun"], lambda test: results[test].reason))
    return "\n".join(lines) + "\n"


def write_xunit(path, name, results):
    """The results as xunit."""
    suite = ET.Element("testsuite", name=name, tests=str(len(results)),
                       failures=str(sum(r.outcome == "failed" for r in results.values())),
                       skipped=str(sum(r.outcome in ("notrun", "excluded") for r in results.values())),
                       time=f"{sum(r.seconds for r in results.values()):.0f}")
    for result in results.values():
        case = ET.SubElement(suite, "testcase", classname=f"xfstests.{name}", name=result.test,
                             time=f"{result.seconds:.0f}")
        if result.outcome == "failed":
            ET.SubElement(case, "failure", message=result.reason).text = printable(result.text)
        elif result.outcome != "passed":
            ET.SubElement(case, "skipped", message=result.reason)
    ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def printable(text):
    """Without the characters that XML cannot hold."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd]", "?", text)
