"""`booth check --html`: one file with every photo, its evidence drawn on it and every rule with value, limit, verdict and source.

The file is complete in itself: no script, nothing loaded from anywhere, and its own policy forbids both. All text is escaped by the template.
Sections are kept on disk while photos are judged, so that a folder of thousands does not fill the memory. When the disk is full the photos are
judged all the same, and the end tells that there is no report.
"""

from __future__ import annotations

import base64
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from jinja2 import Environment, PackageLoader, StrictUndefined

from booth.check_drawing import HISTOGRAM_SIZE, evidence_path, histogram_paths
from booth.check_files import OutputRefusedError, whole_file
from booth.check_photo import Checked, Outcome
from booth.check_table import (
    JUDGED_WORDS,
    LEVEL_WORDS,
    OUTCOMES,
    band,
    by_subject,
    counts,
    in_the_way,
    limit,
    measured,
    reasons,
    remedy,
    rule_name,
    shown,
)
from validation.report import Finding, Report, Verdict

if TYPE_CHECKING:
    from types import TracebackType

    from booth.messages import Messages
    from validation.profile import Profile

OUTCOME_CLASSES = {Outcome.COMPLIANT: "good", Outcome.NOT_COMPLIANT: "bad", Outcome.NOT_JUDGED: "unknown"}
VERDICT_CLASSES = {
    Verdict.PASS: "good",
    Verdict.WARN: "care",
    Verdict.FAIL: "bad",
    Verdict.NOT_ASSESSED: "unknown",
}
VERDICT_SIGNS = {Verdict.PASS: "✓", Verdict.WARN: "!", Verdict.FAIL: "✕", Verdict.NOT_ASSESSED: "?"}
# Advice and facts that were not assessed do not stand in the way; they are told, not marked.
MARKED = (Verdict.FAIL, Verdict.WARN)


class HtmlReport:
    """Takes photos one by one, then writes the file. Use as a context: what is kept on disk meanwhile vanishes at its end."""

    def __init__(self, profile: Profile, messages: Messages) -> None:
        environment = Environment(
            loader=PackageLoader("booth", "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._parts: Any = environment.get_template("check_report.html").module
        self._profile = profile
        self._messages = messages
        self._contents: list[dict[str, Any]] = []
        self._rules = 0
        self._lost: OSError | None = None
        try:
            self._sections: BinaryIO = tempfile.TemporaryFile(prefix="booth-check-")  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise OutputRefusedError(f"There is no room for temporary files ({error.strerror}); set TMPDIR.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # what was still to be kept has no room, and nobody will read it
            self._sections.close()

    def add(self, one: Checked) -> None:
        """One photo more."""
        told = self._photo(one, len(self._contents) + 1)
        self._contents.append({key: told[key] for key in ("id", "name", "folder", "outcome", "style", "reasons")})
        if one.report is not None:
            self._rules = max(self._rules, len(one.report.findings))
        if self._lost is None:
            try:
                self._sections.write(str(self._parts.photo(told)).encode("utf-8", "replace"))
            except OSError as error:
                self._lost = error  # told by write

    def write(self, target: Path) -> None:
        """The whole file, at once. Raises OSError."""
        if self._lost is not None:
            raise self._lost
        totals = [
            (word, number, OUTCOME_CLASSES[outcome])
            for outcome, (_, word) in OUTCOMES.items()
            if (number := sum(entry["outcome"] == word for entry in self._contents))
        ]
        head = self._parts.head(self._profile, self._contents, totals, range(self._rules))
        with whole_file(target) as file:
            file.write(str(head).encode("utf-8", "replace"))
            self._sections.seek(0)
            shutil.copyfileobj(self._sections, file)
            file.write(str(self._parts.tail()).encode())

    def _photo(self, one: Checked, number: int) -> dict[str, Any]:
        report = one.report
        told: dict[str, Any] = {
            "id": f"photo-{number}",
            "name": shown(Path(one.photo).name),
            "folder": shown(str(Path(one.photo).parent)).removeprefix("."),
            "outcome": OUTCOMES[one.outcome][1],
            "style": OUTCOME_CLASSES[one.outcome],
            "reasons": reasons(one, self._messages),
            "error": one.error if report is None else None,
        }
        if report is None:
            return told
        numbers = {found.rule: at for at, found in enumerate(report.findings)}
        rows = [
            (heading, [self._row(found, numbers[found.rule], report) for found in findings])
            for heading, findings in by_subject(report)
        ]
        return told | {
            "report": report,
            "judged": JUDGED_WORDS[report.judged],
            "counts": counts(report),
            "picture": None if one.picture is None else base64.b64encode(one.picture.jpeg).decode("ascii"),
            "histograms": histogram_paths(one.picture.histograms) if one.picture and one.picture.histograms else None,
            "histogram_size": HISTOGRAM_SIZE,
            "subjects": rows,
            # Drawn so that what is broken lies on top.
            "marks": sorted(
                (row for _, members in rows for row in members if row["path"]), key=lambda row: row["marked"]
            ),
            "blocking": in_the_way(report, self._messages),
            "advised": [
                (rule_name(self._messages, f.rule), f"{measured(f)}, limit {limit(f)}", remedy(self._messages, f))
                for f in report.findings
                if f.verdict is Verdict.WARN
            ],
            "portrait": None if one.portrait is None else shown(str(one.portrait)),
        }

    def _row(self, found: Finding, number: int, report: Report) -> dict[str, Any]:
        return {
            "number": number,
            "rule": found.rule,
            "name": rule_name(self._messages, found.rule),
            "measured": measured(found) if found.value is not None else "",
            "limit": band(found.limit) or band(found.warn_limit),
            "better": band(found.warn_limit) if band(found.limit) and found.warn_limit != found.limit else "",
            "unit": found.unit,
            "verdict": self._messages.text(f"verdict.{found.verdict.value}"),
            "sign": VERDICT_SIGNS[found.verdict],
            "style": VERDICT_CLASSES[found.verdict],
            "level": LEVEL_WORDS[found.level],
            "remedy": remedy(self._messages, found),
            "source": found.source,
            "path": evidence_path(found.evidence, report.width, report.height),
            "marked": found.verdict in MARKED,
        }
