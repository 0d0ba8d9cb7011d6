"""README.md of a run: what these images are, what they are for, and, once it has ended, what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skiagraph.tasks.synthesize.kit import Guide, Kit
from skiagraph.tasks.synthesize.settings import SynthesizeSettings

__all__ = ["card", "outcome"]


def card(settings: SynthesizeSettings, kit: Kit, ending: str = "") -> str:
    """The card, Markdown.

    Args:
        settings: filled settings.
        kit: what is loaded.
        ending: what came of the run, as `outcome` tells it; nothing where it has not ended.
    """
    guided = settings.guide.measure not in (None, "none") and bool(settings.guide.scale)
    push = (
        f"pushed by `{settings.guide.measure}` at scale {settings.guide.scale:g}, towards images that a classifier is "
        "unsure of"
        if guided
        else "not pushed by a classifier"
    )
    if settings.candidates > 1:
        taken = f"the one of highest `{settings.guide.measure}` was taken"
        push += f"; of {settings.candidates} draws for each image {taken}"
    return f"""# Synthetic images

**Nothing here was measured.** These images were drawn from the diffusion prior `{kit.name}` (mode {settings.mode},
preset {settings.preset}), {push}.
They are for training classifiers, never for testing them, never for diagnosis, and never clinical truth.

- `images/CLASS/`: the images kept; the folder's name is the label. Labels of hard images are doubtful by intention.
- `rejected/CLASS/`: drawn and not kept; `manifest.csv` says why. `before/CLASS/`: the same images before the push.
- `manifest.csv`: one row an image. `recipe.json`: all that decides the pixels. `report.html`: the page to look at.

{ending or "The run that draws them has not ended; what came of it will stand here."}

Before use, `skiagraph audit` looks for copies of training images in this folder.
Every PNG says in its text that it is synthetic.
"""


def outcome(
    kit: Kit,
    folders: Sequence[str],
    figures: Mapping[str, Any],
    classes: Sequence[Mapping[str, Any]],
    told: Sequence[str],
) -> str:
    """What came of a run, Markdown: classes, judge, labels lost, near-copies, warnings.

    Args:
        kit: what is loaded.
        folders: folder of each class, in the order of the labels.
        figures: of the run.
        classes: one line a class.
        told: warnings and failures.
    """
    rejected = figures["rejected"]
    lines = [
        "## What came of it",
        "",
        "| label | class | folder | wanted | drawn | kept |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for number, (line, folder) in enumerate(zip(classes, folders, strict=True)):
        counts = " | ".join(str(line[name]) for name in ("wanted", "drawn", "kept"))
        lines.append(f"| {number} | {line['class']} | `{folder}` | {counts} |")
    guides = ", ".join(_named(guide) for guide in kit.guides)
    lines += [
        "",
        f"- Guided by: {guides or 'no classifier'}.",
        f"- Judged by: {_named(kit.judge) if kit.judge is not None else 'nobody independent'}.",
        f"- Labels lost: {figures['label_flips'] or 'not known'}.",
        f"- Hard (entropy of the guide above 0.3): {_percent(figures['hard_share_before'])} before, "
        f"{_percent(figures['hard_share_after'])} after.",
        f"- Rejected: {', '.join(f'{count} {reason}' for reason, count in rejected.items()) or 'none'}.",
        *(f"- {sentence}" for sentence in told),
    ]
    return "\n".join(lines)


def _named(guide: Guide) -> str:
    """A classifier by its folder's name and the beginning of its weights' hash; no path of a machine."""
    return f"`{Path(guide.name).name}`" + (f" (weights {guide.sha256[:12]})" if guide.sha256 else "")


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.1f} %"
