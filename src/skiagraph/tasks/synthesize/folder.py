"""The folder of a run: pictures by class, what was rejected, the manifest; begun once, continued, never overwritten."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.config import dump_yaml, resolved
from skiagraph.data.files import write_whole
from skiagraph.data.png import write_png
from skiagraph.errors import DataError, InputError
from skiagraph.tasks.synthesize.card import card
from skiagraph.tasks.synthesize.kit import Kit
from skiagraph.tasks.synthesize.manifest import Manifest
from skiagraph.tasks.synthesize.settings import SynthesizeSettings

__all__ = ["PROVENANCE", "RunFolder", "class_folder_names", "identity", "tag"]

PROVENANCE = "synthetic"
_MACHINE = ("output", "batch", "threads", "first", "floats", "flip_budget", "twins", "filter", "judge", "precision")
_COUNTS = ("per_class", "counts", "balance_to", "real", "real_data", "task", "images", "scales")
_IDENTITY = "recipe.json"


def identity(settings: SynthesizeSettings, kit: Kit, real: str | None) -> dict[str, Any]:
    """Everything that decides what a run writes, as JSON types; a run is continued only with the same.

    Args:
        settings: filled settings.
        kit: what is loaded.
        real: fingerprint of the real images.
    """
    values = {name: value for name, value in resolved(settings).items() if name not in ("output", "batch", "threads")}
    for name in ("prior", "classifier", "judge", "real"):
        values.pop(name, None)  # by their content, below: a folder that moved is still the same
    return {
        **values,
        "classes": list(kit.classes),
        "prior_sha256": kit.sha256,
        "classifier_sha256": [guide.sha256 for guide in kit.guides],
        "judge_sha256": kit.judge.sha256 if kit.judge is not None else None,
        "real_sha256": real,
    }


def tag(settings: SynthesizeSettings, kit: Kit) -> str:
    """Six letters and digits of what decides the pixels: file names of two kinds of run never collide."""
    values = {name: value for name, value in resolved(settings).items() if name not in (*_MACHINE, *_COUNTS)}
    for name in ("prior", "classifier"):
        values.pop(name, None)
    values["weights"] = [kit.sha256, *(guide.sha256 for guide in kit.guides)]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:6]


class RunFolder:
    """Writes pictures and rows; opening it again continues where it stopped.

    Args:
        folder: made where it does not exist. One with other content, another run or a finished run is refused.
        settings: filled settings.
        kit: what is loaded.
        real: fingerprint of the real images, or None.
    """

    def __init__(self, folder: Path, settings: SynthesizeSettings, kit: Kit, real: str | None) -> None:
        self.folder, self.classes = folder, kit.classes
        self.tag = tag(settings, kit)
        self.names = class_folder_names(kit.classes)
        wanted = identity(settings, kit, real)
        self._refuse_foreign(wanted)
        self._lock = _locked(folder)
        self.continued = (folder / _IDENTITY).exists()
        if not self.continued:
            write_whole(folder / "config.yaml", dump_yaml(settings).encode())
            write_whole(folder / "README.md", card(settings, kit).encode())
            write_whole(folder / "images" / "classes.txt", "".join(f"{name}\n" for name in self.names).encode())
            write_whole(folder / _IDENTITY, json.dumps(wanted, indent=2).encode())
        self.manifest = Manifest(folder / "manifest.csv", kit.classes)
        self.manifest.drop([name for name, row in self.manifest.rows.items() if not (folder / row["file"]).exists()])
        self._words = {
            "Source": f"{PROVENANCE}: drawn from the prior {kit.name}, not measured; not for diagnosis",
            "Software": "skiagraph",
        }

    def _refuse_foreign(self, wanted: Mapping[str, Any]) -> None:
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise InputError(f"output: {self.folder} is a file; give a folder")
        path = self.folder / _IDENTITY
        if not path.exists():
            begun = ("config.yaml", "README.md", "images")  # what a run killed at its beginning left
            inside = [name for name in os.listdir(self.folder) if name not in begun and not name.startswith(".")]
            if inside:
                raise InputError(
                    f"output: {self.folder} holds {sorted(inside)[0]!r} and is no run of this command; nothing is "
                    "overwritten. Give a new folder"
                )
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not readable ({error}); give a new folder") from error
        differs = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        if differs:
            raise InputError(
                f"output: {self.folder} holds another run (it differs in {', '.join(differs)}); nothing is "
                "overwritten. Give a new folder, or the settings in its config.yaml to continue it"
            )
        if (self.folder / "run.json").exists():
            raise InputError(f"output: {self.folder} holds this very run, finished; nothing is overwritten")

    def close(self) -> None:
        """Let other processes write here."""
        (self.folder / ".lock").unlink(missing_ok=True)
        self._lock.close()

    def identifier(self, label: int, number: int) -> str:
        """Name of an image, unlike any other's: of its kind of run, its class and its number."""
        return f"{self.tag}-{label:02d}-{number:05d}"

    def place(self, part: str, label: int, name: str) -> str:
        """File of an image relative to the folder: part is images, rejected or before."""
        return f"{part}/{self.names[label]}/{name}.png"

    def write(self, file: str, levels: NDArray[np.uint8], values: NDArray[np.float32] | None = None) -> None:
        """Write a picture (C, H, W) of grey levels and, where given, its normalised values beside it (.npy)."""
        shown = levels[0] if levels.shape[0] == 1 else np.moveaxis(levels, 0, 2)
        write_png(self.folder / file, np.ascontiguousarray(shown), self._words)
        if values is not None:
            buffer = io.BytesIO()
            np.save(buffer, values, allow_pickle=False)
            write_whole((self.folder / file).with_suffix(".npy"), buffer.getvalue())

    def read(self, file: str) -> NDArray[np.float32]:
        """Read a picture back, (H, W) or (H, W, 3), 0 to 1."""
        from PIL import Image

        with Image.open(self.folder / file) as picture:
            return np.asarray(picture).astype(np.float32) / np.float32(255)


def _locked(folder: Path) -> IO[bytes]:
    """An open file that no other process holds while this one writes; the system lets go of it at any end."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = open(folder / ".lock", "wb")  # noqa: SIM115  (held until `close`)
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # no such locks on this system
        return handle
    except OSError as error:
        handle.close()
        raise InputError(
            f"output: another process is writing to {folder}; wait for it, or give this one a folder of its own with "
            "another `first`"
        ) from error
    return handle


def class_folder_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Folder of each class: its name, with what no file system allows replaced; two alike are an error."""
    names = tuple(re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", name).strip(". ") or "_" for name in classes)
    lower = [name.casefold() for name in names]
    if len(set(lower)) < len(lower):
        twice = sorted({classes[place] for place, name in enumerate(lower) if lower.count(name) > 1})
        raise InputError(f"prior: the classes {', '.join(twice)} would share a folder; rename one and train again")
    return names
