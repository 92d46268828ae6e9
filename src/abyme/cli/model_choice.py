"""Which model the command uses where none is configured: a guess may never cost money.

What is configured is taken as it is. Else an endpoint that is configured is asked what it serves;
else a model server on this machine is looked for; else there is the built-in reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from abyme.cli.keys import Endpoint, endpoint
from abyme.errors import ConfigError, ModelError
from abyme.models.local import (
    DEFAULT,
    LocalServer,
    answering,
    choose_model,
    find_local,
    models_at,
)
from abyme.models.quoting import shorten, shown_url
from abyme.models.registry import resolve
from abyme.settings import Loaded

SUGGESTED = "openai:gpt-5-mini"
ADVICE = " (abyme doctor says what to do)"
READER_NOTE = "no model is set: the built-in reader quotes passages, it is no language model"
_SHOWN_NAMES = 5


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments for ``RLM(...)``, and the one line that says how they came about."""

    model: str
    sub_model: str | None = None
    child_models: tuple[str, ...] = ()
    base_url: str | None = None
    api_key: str | None = None
    note: str = ""
    """"" where the model is configured."""
    key_from: str = ""
    """Where the key comes from; "" where none is sent."""

    def __repr__(self) -> str:
        return f"Choice({self.model!r}, {self.sub_model!r}, {self.base_url!r}, {self.note!r})"


def default_model(
    loaded: Loaded, environ: Mapping[str, str], servers: Sequence[LocalServer] | None = None
) -> Choice:
    """The model to use. ``servers``: what :func:`find_local` found, where it was asked already.

    Raises :class:`ConfigError` where there is something that only the user can decide.
    """
    settings = loaded.settings
    if settings.model:
        return _configured(loaded, environ)
    if settings.base_url:
        return _served(loaded, environ)
    for name in ("sub_model", "child_model"):
        if getattr(settings, name):
            raise ConfigError(
                f"{name} is set ({loaded.origin(name)}) and no model is: give --model"
            )
    if servers is None:
        servers = find_local(looked_at(loaded))
    if found := choose_model(servers):
        server, model = found
        return Choice(
            model=f"openai:{model}",  # whatever it is called: "scripted:FILE" would be a file
            base_url=server.url,
            api_key="",
            note=f"no model is configured: using {model} at {server.url} ({server.name}); "
            "--model chooses another",
        )
    return Choice(model="reader", note=READER_NOTE + _hint(loaded, environ))


def looked_at(loaded: Loaded) -> tuple[str, ...]:
    """The addresses where a local server is looked for."""
    servers = loaded.settings.local_servers
    return DEFAULT if servers is None else servers


def is_built_in(model: str) -> bool:
    """Whether ``model`` answers within this process, without an endpoint."""
    return model == "reader" or model.partition(":")[0] == "scripted"


def _configured(loaded: Loaded, environ: Mapping[str, str]) -> Choice:
    settings = loaded.settings
    model, sub_model = settings.model, settings.sub_model
    if is_built_in(model) and loaded.is_weaker("sub_model", "model"):
        sub_model = ""  # who asks for the reader asks for what costs nothing
    child_models = settings.child_model or ()
    if is_built_in(model) and loaded.is_weaker("child_model", "model"):
        child_models = ()
    where = Endpoint(None, None, "")
    if not all(map(is_built_in, filter(None, (model, sub_model, *child_models)))):
        where = endpoint(loaded, environ)
    return Choice(
        model=model,
        sub_model=sub_model or None,
        child_models=child_models,
        base_url=where.base_url,
        api_key=where.api_key,
        key_from=where.key_from,
    )


def _served(loaded: Loaded, environ: Mapping[str, str]) -> Choice:
    """The one model that the configured endpoint serves."""
    where = endpoint(loaded, environ)
    url = shown_url(loaded.settings.base_url)
    origin = loaded.origin("base_url")
    # Raises for an address or a key that no request could be made with.
    resolve(SUGGESTED, base_url=where.base_url, api_key=where.api_key, environ=environ)
    try:
        listed = models_at(loaded.settings.base_url, where.api_key)
    except ModelError as error:
        raise ConfigError(f"no model: give --model, the name of one at {url} ({error})") from None
    names = answering(listed)
    if len(names) != 1:
        named = ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
        serves = f"serves {len(names)}: {named}" if names else "lists none"
        raise ConfigError(shorten(f"no model: give --model; {url} ({origin}) {serves}"))
    return Choice(
        model=f"openai:{names[0]}",
        sub_model=loaded.settings.sub_model or None,
        child_models=loaded.settings.child_model or (),
        base_url=where.base_url,
        api_key=where.api_key,
        key_from=where.key_from,
        note=f"no model is configured: using {names[0]}, the only one at {url} ({origin}); "
        "--model chooses another",
    )


def _hint(loaded: Loaded, environ: Mapping[str, str]) -> str:
    """That a key is there, and what it could be used for."""
    try:
        key_from = endpoint(loaded, environ).key_from
    except ConfigError:
        return ""
    return f"; {key_from} is set: --model {SUGGESTED} would use it" if key_from else ""
