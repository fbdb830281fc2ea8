"""What recsys is on this machine and what can be configured: doctor and config."""

from pydantic import BaseModel, Field

from ..progress import stage
from .outcome import Outcome, next_command


class KeyReference(BaseModel, frozen=True):
    """One key of the configuration; default: a TOML literal, None where there is none."""

    name: str
    default: str | None
    required: bool
    values: str
    meaning: str


class ConfigReference(Outcome, frozen=True):
    """Every key of the configuration."""

    keys: list[KeyReference]
    toml: str = Field(exclude=True)

    def lines(self) -> list[str]:
        """A commented TOML file."""
        return [self.toml]


class Examined(Outcome, frozen=True):
    """What is installed. libraries: versions by name, None where one is missing. devices: what each is used for."""

    healthy: bool
    python: str
    libraries: dict[str, str | None]
    devices: dict[str, str]
    text: list[str] = Field(exclude=True)

    def lines(self) -> list[str]:
        """One line per library and device."""
        return self.text


def print_config() -> Outcome:
    """List the keys of the configuration."""
    from ..config_reference import as_toml, sections

    keys = [
        KeyReference(name=key.name, default=key.default, required=key.required, values=key.values, meaning=key.meaning)
        for section in sections()
        for key in section.keys
    ]
    return ConfigReference(keys=keys, toml=as_toml(), next=next_command("run", config="my.toml", out="run"))


def examine_machine() -> Outcome:
    """Examine what is installed."""
    from .doctor import examine

    with stage("import the libraries"):
        examination = examine()
    return Examined(
        healthy=examination.healthy,
        python=examination.python,
        libraries=examination.libraries,
        devices=examination.devices,
        text=examination.lines(),
        exit_code=0 if examination.healthy else 2,
        next=next_command("demo") if examination.healthy else None,
    )
