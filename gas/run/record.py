"""The record of a run: everything needed to do it again, in the picture where it fits and in a file beside it.

It holds no absolute paths, no secrets and no times, so the same run gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from gas import files
from gas.backends.profiles import ProfileName
from gas.bands import bands
from gas.characters import HIDDEN
from gas.errors import InputRefused, UsageError
from gas.placement import MemorySetting
from gas.regions.rle import RLE, decode_rle
from gas.remedies import Remedy, Setting
from gas.types import MAX_SUBTASKS, EditPlan, EditRequest, Finding, Region, WorkMode
from gas.validation import explain, load_json
from gas.version import __version__

if TYPE_CHECKING:
    from gas.backends.roles import Role
    from gas.picture.photo import Photo
    from gas.types import Image

RECORD_VERSION: Literal[1] = 1
MAX_RECORD_BYTES = 64 * 2**20
MAX_RECORD_DEPTH = 64
LIBRARIES = (
    "accelerate",
    "diffusers",
    "numpy",
    "pillow",
    "pypatchmatch",
    "safetensors",
    "scipy",
    "torch",
    "transformers",
)
_MODEL_FILES = {".safetensors", ".json", ".txt", ".pt", ".pth", ".bin", ".onnx", ".model"}
_ABSOLUTE = re.compile(r"(?:/|~[\w.-]*/|[A-Za-z]:[\\/]|\\\\|file:)")
_SECRET_NAME = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)


def _public(value: Any) -> Any:
    """The value with absolute paths, the user's name in them, cut to their last part."""
    if isinstance(value, str) and _ABSOLUTE.match(value):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    if isinstance(value, Mapping):
        return {k: _public(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_public(v) for v in value]
    return value


def without_secrets(text: str) -> str:
    """The JSON text with the values of secret environment variables blanked, wherever they came from."""
    for name, secret in os.environ.items():
        if _SECRET_NAME.search(name) and len(secret) >= 8:
            text = text.replace(json.dumps(secret)[1:-1], "***")
    return text


def _file_name(name: str) -> str:
    if not name or name in {".", ".."} or HIDDEN.search(name) or any(one in name for one in "/\\:\t\n"):
        raise ValueError("not a plain file name")
    return name


MAX_SIDE = 2**20
MAX_SEED = 2**63 - 1
Public = Annotated[JsonValue, AfterValidator(_public)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[str, Field(max_length=2**20)]
PublicText = Annotated[str, Field(max_length=2000), AfterValidator(_public)]
FileName = Annotated[str, Field(max_length=255), AfterValidator(_public), AfterValidator(_file_name)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Place = Annotated[int, Field(ge=-MAX_SIDE, le=MAX_SIDE)]
Coordinate = Annotated[float, Field(ge=-MAX_SIDE, le=MAX_SIDE)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Request(_Value):
    """What the user asks for, in words; all empty when a plan was given.

    `caption` says what the picture shows. `source` and `target` are two whole prompts, instead of an instruction.
    """

    instruction: Words = ""
    caption: Words | None = None
    source: Words | None = None
    target: Words | None = None

    def of(self, image: Image, seed: int) -> EditRequest:
        """The request for the picture `image`. UsageError (exit 2) when nothing is asked for, or half of two
        prompts."""
        if not self.instruction.strip() and self.source is None and self.target is None:
            raise UsageError(
                "nothing is asked for", 'give an instruction such as "make the dog a tiger", or a finished plan'
            )
        if (self.source is None) != (self.target is None):
            both = {"source": Setting("source"), "target": Setting("target")}
            raise UsageError(
                "one of the two prompts, before and after, is missing",
                Remedy("both_prompts", "give both {source} and {target}, or an instruction", **both),
            )
        return EditRequest(image, self.instruction, seed, self.caption, self.source, self.target)


class Used(_Value):
    """A backend that was used: its registered name, its options, those with defaults too, and the distribution that it
    came with, in which version (None: an older gas wrote the record)."""

    name: Name
    options: Annotated[Mapping[Name, Public], Field(max_length=1000)] = {}
    distribution: Name | None = None
    version: Annotated[str, Field(max_length=200)] | None = None


class Model(_Value):
    """A model that was used: hub id and revision, or the name of a local folder and the SHA-256 of its files."""

    id: PublicText
    revision: Name | None = None
    files: Annotated[Mapping[PublicText, Digest], Field(max_length=10_000)] = {}

    @classmethod
    def of(cls, location: str | os.PathLike[str], revision: str | None = None) -> Model:
        """The model at a hub id, or in a local file or folder, whose weight and configuration files are hashed."""
        path = Path(location)
        if not path.exists():
            return cls(id=str(location), revision=revision)
        inside = (p for p in path.rglob("*") if p.suffix in _MODEL_FILES and p.is_file())
        found = [path] if path.is_file() else sorted(inside)
        names = {(p.name if p == path else p.relative_to(path).as_posix()): p for p in found}
        return cls(id=path.resolve().name, revision=revision, files={n: _hash_model(p) for n, p in names.items()})


class RecordedRegion(_Value):
    """A region at native resolution."""

    phrase: Words
    subtask: Annotated[int, Field(ge=0)] | None = None
    box: tuple[Coordinate, Coordinate, Coordinate, Coordinate] | None = None
    score: float | None = None
    given: bool = False
    mask: RLE


class RecordedFrame(_Value):
    """How the working picture was cut from the native one (`gas.picture.frame.Frame`)."""

    native: tuple[Side, Side]
    crop: tuple[Place, Place, Place, Place]
    size: tuple[Side, Side]


class RecordedPlace(RecordedFrame):
    """A working picture, and the subtasks, by their indices, that were worked on in it (`gas.run.result.Place`)."""

    subtasks: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=MAX_SUBTASKS)] = ()


class RecordedDetail(_Value):
    """A place that got detail of its own size (`gas.run.result.Detailed`)."""

    subtask: Annotated[int, Field(ge=0)]
    coarse: Annotated[float, Field(ge=1)]
    by: Name
    tiles: Annotated[int, Field(ge=0)] = 0
    sharpness: tuple[float, float, float] | None = None


class Input(_Value):
    """The picture that was edited: its file's name and SHA-256, the SHA-256 of its upright sRGB pixels, its size."""

    name: FileName
    sha256: Digest
    pixels: Digest
    size: tuple[Side, Side]


class Measured(_Value):
    """What the edit did, in levels of 255.

    Differences where no change was asked for, before the file was encoded, and the mean change inside each subtask's
    regions."""

    outside_max: float
    outside_mean: float
    inside: Annotated[tuple[float | None, ...], Field(max_length=MAX_SUBTASKS)] = ()


Names = Annotated[tuple[Annotated[str, Field(max_length=500)], ...], Field(max_length=500)]


class FileMetadata(_Value):
    """What of the photograph's metadata is in the file as it was, changed, or not there."""

    kept: Names = ()
    changed: Names = ()
    left_out: Names = ()


class File(_Value):
    """The file that was written, only in the sidecar: its SHA-256, and what was measured when it was read again.

    The differences where no change was asked for; the share of the picture that the edit was pasted into, and the share
    where it was although no change was asked for (None: an older version did not measure them). What became of the
    metadata; how a JPEG file was made of another (`gas.picture.photo_write.JpegCoding`), and why not in a better way.
    """

    name: FileName
    sha256: Digest
    format: Name
    outside_max: float
    outside_mean: float
    exact: bool
    edited: float | None = None
    beyond: float | None = None
    metadata: FileMetadata | None = None
    jpeg: Literal["coefficients", "jpegtran", "re-encoded"] | None = None
    jpeg_why: str = Field("", max_length=500)


class Attempt(_Value):
    """A subtask that was tried again: by which editor, with which seed, on the picture as it was accepted so far.

    * finding: what the verifier said; an editor that gave up has the failure "refused";
    * kept: "accepted" where it was pasted at once; "best" where nothing got the subtask done and this came nearest,
      pasted at the end; "no" where it is not in the picture;
    * rows: how many rows its networks were given, where the editor tells;
    * asked: a person asked for it, after everything else: what was there was taken back first, and it is in the picture
      because that person accepted it, whatever the finding.
    """

    editor: Used
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    finding: Finding
    kept: Literal["accepted", "best", "no"] = "no"
    rows: Annotated[float, Field(ge=0)] | None = None
    asked: bool = False


class Verified(_Value):
    """What a verifier said of an edit, and what was tried because of it.

    * findings: of the picture that was written, one for each subtask (none: nobody was asked, and the attempts are a
      person's); first: of the editor's own, before anything was tried again; attempts: in their order;
    * ended: why nothing more was tried, where something is not done.
    """

    findings: Annotated[tuple[Finding, ...], Field(max_length=MAX_SUBTASKS)]
    first: Annotated[tuple[Finding, ...], Field(max_length=MAX_SUBTASKS)] = ()
    attempts: Annotated[tuple[Attempt, ...], Field(max_length=1000)] = ()
    ended: PublicText | None = None

    @property
    def undone(self) -> tuple[int, ...]:
        """The subtasks that are known not to be done."""
        return tuple(one.subtask for one in self.findings if one.verdict == "not done")

    @property
    def unknown(self) -> tuple[int, ...]:
        """The subtasks that could not be judged."""
        return tuple(one.subtask for one in self.findings if one.verdict == "cannot tell")


class Record(_Value):
    """What was done, versioned: JSON in the picture and in `OUT.gas.json`."""

    version: Literal[1] = RECORD_VERSION
    gas: Name = __version__
    libraries: Annotated[Mapping[Name, Name], Field(max_length=1000)] = {}
    asked: Request = Request()
    plan: EditPlan
    regions: Annotated[tuple[RecordedRegion, ...], Field(max_length=10_000)] = ()
    chosen: Annotated[tuple[RecordedRegion, ...], Field(max_length=10_000)] = ()
    """The places that the editor chose itself: what was done, and nothing that replay would take for granted."""
    planner: Used | None = None
    grounders: Annotated[tuple[Used, ...], Field(max_length=100)] = ()
    editor: Used
    helpers: Annotated[tuple[Used, ...], Field(max_length=100)] = ()
    """The editors that the editor hands subtasks to, and who drew large places finer."""
    verifier: Used | None = None
    """Who verified it; None where nobody did."""
    verified: Verified | None = None
    profile: ProfileName | None = None
    profile_from: PublicText | None = None  # who chose it: a flag, a variable, a file, or why it is the default
    models: Annotated[tuple[Model, ...], Field(max_length=1000)] = ()
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    device: Annotated[str, Field(pattern=r"^[a-z]{1,16}(:[0-9]{1,3})?$")]
    dtype: Annotated[str, Field(pattern=r"^[a-z0-9]{1,16}$")]
    memory: MemorySetting = "auto"
    """How the networks were placed (`gas.placement`): the rung, where it is below the first, else the setting."""
    work: WorkMode = "auto"
    grounded: bool = False
    detail: Name = "off"
    """Who drew large places finer, by its name; "off": nobody."""
    detailed: Annotated[tuple[RecordedDetail, ...], Field(max_length=MAX_SUBTASKS)] = ()
    frame: RecordedFrame
    places: Annotated[tuple[RecordedPlace, ...], Field(max_length=MAX_SUBTASKS)] = ()
    input: Input
    measured: Measured
    log: Mapping[str, Public] = {}
    notes: Annotated[tuple[PublicText, ...], Field(max_length=1000)] = ()
    """What was warned of before the edit; what the editor said is in its log."""
    stopped: bool = False
    file: File | None = None
    left_out: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    """What did not fit into the picture; the sidecar has it."""

    @model_validator(mode="after")
    def _regions_fit(self) -> Record:
        width, height = self.input.size
        for region in (*self.regions, *self.chosen):
            if region.mask.size != (height, width):
                raise ValueError(f"a mask of {region.mask.size} for a picture of {height, width}")
            if region.subtask is not None and region.subtask >= len(self.plan.subtasks):
                raise ValueError(f"a region for subtask {region.subtask} of {len(self.plan.subtasks)}")
        if any(one.subtask >= len(self.plan.subtasks) for one in self.detailed):
            raise ValueError(f"detail for more than {len(self.plan.subtasks)} subtasks")
        if self.verified is not None:
            findings = [*self.verified.findings, *self.verified.first, *(one.finding for one in self.verified.attempts)]
            if any(one.subtask >= len(self.plan.subtasks) for one in findings):
                raise ValueError(f"a finding for more than {len(self.plan.subtasks)} subtasks")
        return self

    def used(self, role: Role) -> tuple[Used, ...]:
        """The backends of `role` that were used, in their order; none where the run did without."""
        value = getattr(self, role.setting)
        return tuple(value) if role.several else () if value is None else (value,)

    def to_regions(self) -> tuple[Region, ...]:
        """The regions as they were used, marked as given, so that replay neither looks for nor grows them."""
        return tuple(Region(r.phrase, r.box, decode_rle(r.mask), r.score, r.subtask, given=True) for r in self.regions)

    def to_json(self, indent: int | None = None) -> str:
        """The record's text: JSON, keys in the order of the fields, floats in full, no secret of the environment."""
        return without_secrets(self.model_dump_json(indent=indent))


def sidecar(output: Path) -> Path:
    """The name of the record's file beside an output: `OUT.gas.json`."""
    return output.with_name(output.name + ".gas.json")


def read_record(path: Path) -> Record:
    """The record of an output, or in a record's own JSON file.

    The file beside the output is taken when it belongs to it by hash, since it can hold more; else the record in the
    picture. Both are input like any other: InputRefused (exit 3) when there is none, or it is too long, broken, or of
    another version.
    """
    found = find_record(path)
    if found is None:
        beside = sidecar(path).name
        raise InputRefused(f"{path.name}: holds no record", f"gas writes one into its outputs and into {beside}")
    return found


def find_record(path: Path) -> Record | None:
    """As `read_record`; None for a picture that holds no record and has none beside it."""
    from gas.picture import photo_write

    if path.suffix.lower() == ".json":
        return parse_record(files.read_text(path, max_bytes=MAX_RECORD_BYTES), path.name)
    if path.is_dir():
        raise InputRefused(f"{path}: is a folder", "give a file")
    beside = sidecar(path)
    if beside.is_file():
        found = parse_record(files.read_text(beside, max_bytes=MAX_RECORD_BYTES), beside.name)
        if found.file is not None and found.file.sha256 == files.sha256_of(path):
            return found
    text = photo_write.read_embedded(path)
    return None if text is None else parse_record(text, path.name)


def parse_record(text: str, origin: str = "record") -> Record:
    """The record in a text, which may come from anybody. InputRefused (exit 3) names `origin` and what is wrong."""
    try:
        plain = load_json(text, origin, max_bytes=MAX_RECORD_BYTES, max_depth=MAX_RECORD_DEPTH)
    except InputRefused as error:
        raise InputRefused(error.message, "a record is not to be edited by hand") from None
    version = plain.get("version") if isinstance(plain, dict) else None
    if version != RECORD_VERSION:
        raise InputRefused(
            f"{origin}: is not a record of version {RECORD_VERSION} (its version is {str(version)[:20]})",
            "use the gas that wrote it, or make the edit again",
        )
    try:
        return Record.model_validate(plain)
    except ValidationError as error:
        raise InputRefused(f"{origin}: {explain(error)}", "a record is not to be edited by hand") from None


class SameInput(NamedTuple):
    """Whether a picture is the one that was edited: the same file, or another file with the same pixels."""

    file: bool
    pixels: bool


def same_input(record: Record, photo: Photo) -> SameInput:
    """Whether `photo` is what the record was made from, by the hash of the file and by that of its pixels."""
    return SameInput(photo.sha256 == record.input.sha256, pixel_hash(photo.pixels) == record.input.pixels)


def pixel_hash(image: Image) -> str:
    """The SHA-256 of an image's shape and pixels as hexadecimal digits."""
    digest = hashlib.sha256(repr(image.shape).encode())
    for rows in bands(*image.shape[:2]):
        digest.update(image[rows].tobytes())
    return digest.hexdigest()


def library_versions() -> dict[str, str]:
    """The versions of Python and of those libraries that are installed and matter to the result; none is imported."""
    out = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out


def _hash_model(path: Path) -> str:
    """The SHA-256 of a model's file, read once in a process while the file stays as it is."""
    told = path.stat()
    return _hash_unchanged(path, told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino)


@lru_cache(maxsize=1024)
def _hash_unchanged(path: Path, *stat: int) -> str:
    return files.sha256_of(path)
