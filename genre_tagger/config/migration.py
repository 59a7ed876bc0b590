"""Migration of configuration files from older versions of the schema."""

from typing import Any

from genre_tagger.errors import UserError

# Keys of version 1 and their places in version 2. None: a key that is no longer part of the configuration.
MOVED_KEYS = {
    "model.cascade": "model.wavenet.cascade",
    "training.augment.spectrogram": "model.spec_augment",
    "training.init": None,  # an argument of training: --init
    "training.freeze": None,  # an argument of training: --freeze
}


def migrate(
    values: dict[str, Any], parent: dict[str, Any] | None = None, *, saved_by_run: bool = False
) -> dict[str, Any]:
    """Return the values of a configuration file in the current schema.

    A file without a `schema_version` may use the keys of version 1, which are moved to their places in version 2. In
    version 1 the CNN and the cascade WaveNet were part of every model unless a file excluded them. A file
    that has keys of version 1 and no parent therefore gets both branches.

    Args:
        values: nested plain values, as YAML gives them. They are changed in place.
        parent: migrated values of the preset that the file extends, if any.
        saved_by_run: whether a run saved the values. The start of its training is in `data.json` too, so the keys
            `training.init` and `training.freeze` are dropped.

    Raises:
        UserError: a file that no run saved sets one of these two keys, which are now options of the commands.
    """
    if "schema_version" in values:
        return values
    if parent is None and any(_has(values, key) for key in MOVED_KEYS):
        _add_default_branches(values)
    _move_cascade(values, parent or {})
    training = _section(values, "training")
    if "spectrogram" in (augment := _section(training, "augment")):
        _set_default(values, "model", "spec_augment", augment.pop("spectrogram"))
    for key in ("init", "freeze"):
        value = training.pop(key, None)
        if value not in (None, 0, "none") and not saved_by_run:
            raise UserError(f"config key 'training.{key}': found {value!r}, but it is now the option --{key}")
    if "batch_size" in training:  # version 1 had one batch size for training and inference
        _set_default(values, "inference", "batch_size", training["batch_size"])
    return values


def _has(values: dict[str, Any], key: str) -> bool:
    *sections, last = key.split(".")
    for section in sections:
        values = _section(values, section)
    return last in values


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a section, or an empty dict if it is missing or not a section."""
    section = values.get(name)
    return section if isinstance(section, dict) else {}


def _set_default(values: dict[str, Any], name: str, key: str, value: Any) -> None:
    """Set a key of a section unless it is set. If the section is invalid, leave it for the validation to report."""
    section = values.setdefault(name, {})
    if isinstance(section, dict):
        section.setdefault(key, value)


def _add_default_branches(values: dict[str, Any]) -> None:
    for branch in ("cnn", "wavenet", "cascade"):
        _set_default(values, "model", branch, {})


def _move_cascade(values: dict[str, Any], parent: dict[str, Any]) -> None:
    """Move the cascade into the WaveNet's section. It is dropped if the model has no WaveNet, as in version 1."""
    model = _section(values, "model")
    if "cascade" not in model:
        return
    cascade = model.pop("cascade")
    if model.get("wavenet", _section(parent, "model").get("wavenet")) in (None, "none"):
        return
    _set_default(model, "wavenet", "cascade", cascade)
