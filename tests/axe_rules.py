"""What axe looks for on a page of the booth: WCAG 2.2 AA, and its own rules of good practice."""

from __future__ import annotations

AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = """
async (tags) => (await axe.run(document, {runOnly: {type: "tag", values: tags}})).violations
    .flatMap((found) => found.nodes.map((node) => `${found.id}: ${node.target.join(" ")} ${node.failureSummary}`))
"""
