"""Run configuration, checked at birth; recipes are YAML files of it, shipped as package data.

A recipe may say `extends: other_recipe` and then holds only what differs. All mistakes of a
configuration are reported at once, before any data is read.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from frcore.config_errors import ConfigError, explain, report
from frcore.recipe_files import extend, merge, nest, read_recipe

Stream = Literal["joint", "bone", "joint_motion", "bone_motion"]
Split = Literal["train", "val", "test"]
Switch = Annotated[bool, Strict()]  # no "yes", no 1

DEFAULTS_VERSION = 1  # raise it when a default below changes: hashes count what differs from them

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class _Config(BaseModel):
    # Every check belongs to a field (also a default's: what contradicts it may come later or from
    # elsewhere), so that one mistake does not hide another.
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _number(cls, value: Any, info: ValidationInfo) -> Any:
        wanted = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and wanted in (int, float, int | None):
            raise ValueError(f"must be a number, not {value}")
        return value


class TransformConfig(_Config):
    """From a stored clip to what a model sees: centre, rotate and scale, normalise, sample."""

    frames: int | None = Field(None, ge=1, le=4096)  # that a model sees; None: the benchmark's
    sampling: Literal["random_frames", "crop_resize"] = "crop_resize"
    center: Switch = True  # subtract the first frame's centre joint, where a store has not
    normalize: Literal["minmax", "none"] = "none"  # per axis over the clip, to [-1, 1]
    rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)  # max degrees about x, y, z; training
    rotation_order: Literal["yxz", "xyz"] = "yxz"  # about which axis first; NTU's feeder: xyz
    whole_degrees: Switch = False
    scale: tuple[float, float] = (1.0, 1.0)  # training
    limb_scale: tuple[float, float] = (1.0, 1.0)  # of each bone's length, sides alike; training
    crop: tuple[float, float] = (0.5, 1.0)  # share of the frames kept by crop_resize; training
    test_crop: float = Field(0.95, gt=0, le=1)  # the same in evaluation, centred

    @field_validator("scale", "limb_scale", "crop")
    @classmethod
    def _ordered(cls, value: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        low, high = value
        if not 0 < low <= high or (info.field_name == "crop" and high > 1):
            most = " <= 1" if info.field_name == "crop" else ""
            raise ValueError(f"must be (low, high) with 0 < low <= high{most}, not {value}")
        return value

    @field_validator("limb_scale")
    @classmethod
    def _not_with_minmax(
        cls, value: tuple[float, float], info: ValidationInfo
    ) -> tuple[float, float]:
        if value != (1.0, 1.0) and info.data.get("normalize") == "minmax":
            raise ValueError("works with normalize 'none' only: leave it (1, 1) with 'minmax'")
        return value

    @field_validator("rotation")
    @classmethod
    def _degrees(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if not all(0 <= angle <= 180 for angle in value):
            raise ValueError(f"must be three angles in 0..180 degrees, not {value}")
        return value

    def with_frames(self, num_frames: int) -> Self:
        """The same with `frames` given: `num_frames` where there are none."""
        return self if self.frames else self.model_copy(update={"frames": num_frames})


class DataConfig(_Config):
    """Which clips, as which stream."""

    protocol: str | None = None  # X-Sub, X-View, ...; None: the benchmark's first
    stream: Stream = "joint"
    duplicates: Literal["drop", "keep"] = "drop"  # training clips whose content is also in test
    val_subjects: tuple[int | str, ...] = ()  # training subjects held out as split "val"
    repeats: int = Field(1, ge=1, le=1000)  # times each clip is seen an epoch
    persons: int | None = Field(None, ge=1)  # use only the first persons; None: all
    residence: Literal["auto", "device", "stream"] = "auto"  # where clips are: see frcore.residence
    transform: TransformConfig = TransformConfig()


class ModelConfig(_Config):
    """The network."""

    backbone: str = "ctrgcn"
    overrides: dict[str, Any] = {}  # keyword arguments of create_backbone, e.g. {width: 32}
    dropout: float = Field(0.0, ge=0, lt=1)  # before the classifier


class HeadConfig(_Config):
    """FR Head (Zhou, Liu, Wang, CVPR 2023)."""

    weight: float = Field(0.1, ge=0)  # w_cl: loss = CE + weight * CL (Eq. 11)
    levels: tuple[int, ...] = (1, 5, 8, 10)  # blocks tapped, counted from 1
    level_weights: tuple[float, ...] = (0.1, 0.2, 0.5, 1.0)  # lambda_i (Eq. 10)
    decouple: Switch = True  # spatial and temporal branches; else one pooled branch a level
    hidden: int | None = Field(256, ge=1)  # feature width; None: the level's channels
    anchors: Literal["true_positive", "all"] = "true_positive"  # who gets phi and psi (Eq. 6, 7)
    use_fn: Switch = True  # phi: toward the centre of false negatives
    use_fp: Switch = True  # psi: away from the centre of false positives
    confidence_weight: Switch = True  # w_i = 1 - p[i, y_i]
    temperature: float = Field(0.125, gt=0)  # tau (Eq. 8)
    momentum: float = Field(0.9, ge=0, lt=1)  # alpha, EMA of the prototypes (Eq. 3)
    warm_start: Switch = False  # a class joins the denominator once it has been seen
    tp_threshold: float = Field(0.0, ge=0, lt=1)  # p[i, y_i] above which a hit is a TP

    @field_validator("levels")
    @classmethod
    def _increase(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if not levels or list(levels) != sorted(set(levels)) or levels[0] < 1:
            raise ValueError(f"must be increasing block numbers from 1, not {levels}")
        return levels

    @field_validator("level_weights")
    @classmethod
    def _one_a_level(cls, value: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        levels = info.data.get("levels", value)  # absent where they are wrong themselves
        if len(levels) != len(value):
            raise ValueError(f"{len(levels)} levels need as many weights, not {len(value)}")
        return value


class OptimConfig(_Config):
    """SGD with Nesterov momentum, linear warm-up, then steps or a cosine."""

    lr: float = Field(0.1, gt=0, le=100)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: Switch = True
    weight_decay: float = Field(4e-4, ge=0)
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[int, ...] = (35, 55)  # epochs after which lr is multiplied by gamma
    gamma: float = Field(0.1, gt=0, le=1)
    warmup_epochs: int = Field(5, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    @field_validator("nesterov")
    @classmethod
    def _needs_momentum(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("momentum") == 0:
            raise ValueError("needs optim.momentum above 0")
        return value

    @field_validator("milestones")
    @classmethod
    def _increase(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if info.data.get("schedule") == "step" and list(value) != sorted(set(value)):
            raise ValueError(f"must increase, not {value}")
        return value


class TrainConfig(_Config):
    """How long, how exactly, on what."""

    epochs: int = Field(65, ge=1, le=100_000)
    batch_size: int = Field(64, ge=1)  # of all processes of the run together
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # of the backbone; the head is always fp32
    select: Literal["last", "val_best", "test_best"] = "last"  # test_best: only to reproduce papers
    eval_every: int = Field(1, ge=1)  # epochs
    device: str = "auto"  # auto, cpu, cuda or cuda:<number>
    threads: int | None = Field(None, ge=1)  # CPU threads; None: torch's choice
    compile: Literal["off", "default", "reduce-overhead", "max-autotune"] = "off"  # torch.compile
    deterministic: Switch = False  # bit-equal resume on CUDA; the CPU always is

    @field_validator("compile", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML 1.1 reads a bare `off` so

    @field_validator("device")
    @classmethod
    def _known(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
            raise ValueError(f"must be auto, cpu, cuda or cuda:<number>, not {value!r:.40}")
        return value


class RunConfig(_Config):
    """Everything that decides a run. `load_recipe` makes one; `.hash` names its content."""

    name: str  # also the run's directory
    description: str = ""
    benchmark: str
    seed: int = Field(0, ge=0, lt=2**31)
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    head: HeadConfig | None = None
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()

    @field_validator("name")
    @classmethod
    def _safe(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(
                "must be 1 to 100 letters, digits, '_', '.' or '-', the first a letter or digit, "
                f"not {value!r:.120}"
            )
        return value

    @property
    def hash(self) -> str:
        """16 hex digits over all that shapes the result: not names, device, threads, residence or
        compilation.

        Values that are the default do not count, so that a key which a later version adds leaves
        the hashes of older runs as they are.
        """
        train = self.train.model_copy(update={"device": "auto", "threads": None, "compile": "off"})
        data = self.data.model_copy(update={"residence": "auto"})
        content = self.model_copy(update={"train": train, "data": data}).model_dump(
            mode="json", exclude={"name", "description"}, exclude_defaults=True
        )
        text = json.dumps({"defaults": DEFAULTS_VERSION, **content}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def model_name(self) -> str:
        """E.g. "ctrgcn+fr"."""
        return self.model.backbone + ("+fr" if self.head else "")


def load_recipe(
    recipe: "str | Path | Mapping[str, Any] | RunConfig", overrides: Mapping[str, Any] | None = None
) -> RunConfig:
    """A checked configuration from a recipe's name, a YAML file, a mapping or a RunConfig.

    Args:
        recipe: what to start from.
        overrides: values to change, nested (`{"optim": {"lr": 0.05}}`) or dotted
            (`{"optim.lr": 0.05}`).

    Raises:
        ConfigError: listing every mistake with its key, the allowed values and near names.
    """
    if isinstance(recipe, RunConfig):
        fields = recipe.model_dump(mode="python")
    elif isinstance(recipe, Mapping):
        fields = extend(recipe, Path(), ())
    else:
        fields = read_recipe(recipe)
    mistakes = _values_of_no_head(fields, overrides or {})
    try:
        config = RunConfig.model_validate(merge(fields, nest(overrides or {})))
    except ValidationError as error:
        mistakes += explain(error, RunConfig)
    if mistakes:
        source = recipe if isinstance(recipe, str | Path) else "configuration"
        raise ConfigError(report(mistakes, str(source)))
    return config


def _values_of_no_head(fields: Mapping[str, Any], overrides: Mapping[str, Any]) -> list[str]:
    """`head.use_fp=false` where there is no head must not switch one on."""
    if fields.get("head") is not None or "head" in overrides:
        return []
    return [
        f"{key}: there is no FR Head here to change. Start from a recipe that has one (*_frhead), "
        "or give it one: head={}."
        for key in overrides
        if str(key).startswith("head.")
    ]
