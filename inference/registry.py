"""The available models: the shipped ones and those added to a node, each a folder. Nothing here loads torch."""

import re
from dataclasses import dataclass
from pathlib import Path

from inference.errors import InferenceReason, UnusableModel
from inference.integrity import verify_model
from inference.manifest import MANIFEST, MODELS_FOLDER, ModelManifest, read_manifest

__all__ = ["Listing", "Registry", "StoredModel"]

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """One model in one version.

    Attributes
    ----------
    sha256
        Of its manifest: the model's identity, which every result contains.
    shipped
        Whether it is part of the program.
    """

    folder: Path
    manifest: ModelManifest
    sha256: str
    shipped: bool

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Return the model's version."""
        return self.manifest.version


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All models, and the folders without a usable model, with the reason."""

    models: tuple[StoredModel, ...]
    unusable: tuple[tuple[Path, str], ...]


class Registry:
    """Shipped models, and those in ``<node folder>/models/<name>/<version>``.

    Attributes
    ----------
    own
        The folder of the models added to the node.
    """

    def __init__(self, node_folder: Path, shipped: Path = MODELS_FOLDER) -> None:
        self.own = node_folder / "models"
        self._shipped = shipped

    def listing(self) -> Listing:
        """Return every model, ordered by name and version, oldest version first."""
        models, unusable = [], []
        for folder, shipped in self._folders():
            try:
                models.append(self._read(folder, shipped=shipped))
            except UnusableModel as error:
                unusable.append((folder, str(error)))
        models.sort(key=lambda model: (model.name, _natural(model.version)))
        return Listing(models=tuple(models), unusable=tuple(unusable))

    def find(self, name: str, version: str = "") -> StoredModel:
        """Return a model by its name, in the newest version unless one is given.

        Raises
        ------
        UnusableModel
            If there is none.
        """
        found = [model for model in self.listing().models if model.name == name and version in {"", model.version}]
        if not found:
            raise self._missing(f"{name} {version}".strip())
        return found[-1]

    def look(self, name: str, version: str = "") -> StoredModel:
        """Return a model for inspection: by its name, or from a folder that was not added to the node.

        Raises
        ------
        UnusableModel
            If there is none.
        """
        if not version and not _PART.fullmatch(name) and Path(name).is_dir():
            return self._read(Path(name).absolute(), shipped=False)
        return self.find(name, version)

    def resolve(self, setting: str) -> StoredModel:
        """Return the model of a setting: a shipped name, NAME or NAME/VERSION of the node's own models, or a folder.

        A model that is added later must not change the meaning of a setting. Where there are several versions, the
        setting must therefore name one.

        Raises
        ------
        UnusableModel
            If there is none, or more than one.
        """
        if _PART.fullmatch(setting) and (self._shipped / setting / MANIFEST).is_file():
            return self._read(self._shipped / setting, shipped=True)
        name, _, version = setting.partition("/")
        found = [
            model
            for model in self.listing().models
            if not model.shipped and model.name == name and version in {"", model.version}
        ]
        if len(found) > 1:
            versions = ", ".join(f"{model.name}/{model.version}" for model in found)
            sentence = f"there are several versions of {name}; name one of {versions}"
            raise UnusableModel(InferenceReason.MODEL_MISSING, sentence)
        if found:
            return found[0]
        if (Path(setting) / MANIFEST).is_file():
            return self._read(Path(setting), shipped=False)
        raise self._missing(setting)

    def verify(self, model: StoredModel) -> None:
        """Hash every file of a model again.

        Raises
        ------
        UnusableModel
            If a byte has changed or a file is missing.
        """
        verify_model(model.folder, model.manifest, listed=model.shipped or self.own in model.folder.parents)

    def _folders(self) -> list[tuple[Path, bool]]:
        shipped = [(path.parent, True) for path in sorted(self._shipped.glob(f"*/{MANIFEST}"))]
        own = sorted(path for path in self.own.glob("*/*") if path.is_dir() and not path.parent.name.startswith("."))
        return [*shipped, *((folder, False) for folder in own)]

    def _read(self, folder: Path, *, shipped: bool) -> StoredModel:
        _, manifest, sha256 = read_manifest(str(folder.absolute()))
        if self.own in folder.parents and (folder.parent.name, folder.name) != (manifest.name, manifest.version):
            own = f"{folder.parent.name}/{folder.name}"
            sentence = f"folder {own} contains the manifest of another model, {manifest.name} {manifest.version}"
            raise UnusableModel(InferenceReason.MODEL_CHANGED, sentence)
        return StoredModel(folder=folder, manifest=manifest, sha256=sha256, shipped=shipped)

    def _missing(self, wanted: str) -> UnusableModel:
        models = self.listing().models
        shipped = ", ".join(sorted({model.name for model in models if model.shipped})) or "none"
        own = ", ".join(f"{model.name} {model.version}" for model in models if not model.shipped) or "none"
        sentence = f"no model {wanted!r}; shipped models: {shipped}; added to this node: {own}"
        return UnusableModel(InferenceReason.MODEL_MISSING, sentence)


_DIGITS = frozenset("0123456789")


def _natural(version: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts 0.10 after 0.9 and after 0.10-rc1."""
    parts = re.findall(r"[0-9]+|[^0-9.]+", version)
    key = [(2, int(part), "") if part[0] in _DIGITS else (0, 0, part) for part in parts]
    return [*key, (1, 0, "")]
