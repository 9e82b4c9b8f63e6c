"""What opens the broker to us, put where the client library looks for it: the URLs.

Owns the reading of secrets' files and the check that password, certificate and URLs agree. It must not open a
connection. The names of the URL's parameters are those of the AMQP URI specification as aiormq reads it: `cafile`,
`certfile`, `keyfile`, `auth`.

Which way it fails: what contradicts itself, or cannot be read, is a ConfigError before anything starts. No sentence in
here shows a secret.
"""

import os
import ssl
from pathlib import Path

from pydantic import SecretStr
from yarl import URL

from sidecar.config.errors import ConfigError
from sidecar.config.models import BrokerSettings, Settings, TlsSettings


def with_credentials(settings: Settings) -> Settings:
    """The same settings, whose `broker.urls` hold the password and the certificate that the file named."""
    broker = settings.broker
    if broker.password is None and not broker.password_file and broker.tls == TlsSettings():
        return settings
    password = _password(broker)
    urls = tuple(SecretStr(_complete(URL(each.get_secret_value()), password, broker.tls)) for each in broker.urls)
    _check_files(broker.tls)
    cleared = broker.model_copy(update={"urls": urls, "password": None})
    return settings.model_copy(update={"broker": cleared})


def _password(broker: BrokerSettings) -> str:
    if broker.password is not None and broker.password_file:
        raise ConfigError("broker.password and broker.password_file are both set: remove one")
    if broker.password is not None:
        return broker.password.get_secret_value()
    if not broker.password_file:
        return ""
    try:
        password = Path(broker.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"broker.password_file: the file {broker.password_file} cannot be read ({why}); correct path or mode"
        ) from None
    if not password:
        raise ConfigError(f"broker.password_file: the file {broker.password_file} is empty; write the password into it")
    return password


def _complete(url: URL, password: str, tls: TlsSettings) -> str:
    where = f"broker.urls: {url.host}"
    if password and url.password:
        raise ConfigError(f"{where}: the URL has a password, and broker.password or its file names one: remove one")
    if (password or tls.log_in) and not url.user:
        raise ConfigError(f"{where}: the URL names no user whom the password or certificate belongs to; add USER@")
    if tls != TlsSettings() and url.scheme != "amqps":
        raise ConfigError(f"{where}: broker.tls is set, but the URL begins with {url.scheme}://; write amqps://")
    if tls.log_in and (password or url.password):
        raise ConfigError(f"{where}: broker.tls.log_in uses the certificate, so there must be no password: remove it")
    if password:
        url = url.with_password(password)
    named = {"cafile": tls.ca_file, "certfile": tls.cert_file, "keyfile": tls.key_file}
    query = {name: value for name, value in named.items() if value}
    return str(url.update_query(query | ({"auth": "external"} if tls.log_in else {})))


def _check_files(tls: TlsSettings) -> None:
    """Read all three, as a connection would: a wrong file is told now, by its name, and not at every attempt."""
    if tls.log_in and not tls.cert_file:
        raise ConfigError("broker.tls.log_in needs a certificate: name it in broker.tls.cert_file")
    for name, path in (("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        if path and not os.access(path, os.R_OK):
            raise ConfigError(f"broker.tls.{name}: the file {path} is not there or may not be read; correct the path")
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file or None)
    except ssl.SSLError as error:
        raise ConfigError(
            f"broker.tls: the certificates cannot be used ({error.reason or error}); see that they are PEM files, and "
            "that key_file belongs to cert_file"
        ) from None
