"""Passwords and certificates: read from files and variables, put into the URLs, and never said."""

import subprocess
from pathlib import Path

import pytest

from sidecar.config.environment import without_secrets
from sidecar.config.load import ConfigError, load_settings
from sidecar.config.models import Settings

SECRET = "hunter2/@:"
SCRIPT = Path(__file__).parents[2] / "deploy" / "tls" / "make-certificates"


def load(**environ: str) -> Settings:
    """From variables without their prefix."""
    return load_settings(None, environ={f"SIDECAR_{name}": value for name, value in environ.items()})


def urls(settings: Settings) -> list[str]:
    """As the client library gets them."""
    return [each.get_secret_value() for each in settings.broker.urls]


def refusal(**environ: str) -> str:
    """The sentence about it, which must not have the secret in it."""
    with pytest.raises(ConfigError) as caught:
        load(**environ)
    assert SECRET not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of one user, made by the documented script."""
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(["sh", SCRIPT, folder, "broker-1", "exec-a", "exec-b"], check=True, timeout=30)
    return folder


def test_a_password_from_a_file_or_a_variable(tmp_path: Path) -> None:
    """A password is put into every URL, quoted; where it came from makes no difference."""
    (tmp_path / "password").write_text(f"{SECRET}\n")
    by_file = load(AMQP_URL="amqp://u@a/,amqps://u@b/v", BROKER__PASSWORD_FILE=str(tmp_path / "password"))
    by_variable = load(AMQP_URL="amqp://u@a/,amqps://u@b/v", BROKER__PASSWORD=SECRET)
    assert urls(by_file) == urls(by_variable) == ["amqp://u:hunter2%2F%40%3A@a/", "amqps://u:hunter2%2F%40%3A@b/v"]
    assert SECRET not in repr(by_variable)
    assert "hunter2" not in repr(by_file)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"BROKER__PASSWORD": SECRET, "BROKER__PASSWORD_FILE": "/x"}, "both set"),
        ({"BROKER__PASSWORD_FILE": "/nowhere/password"}, "/nowhere/password cannot be read"),
        ({"BROKER__PASSWORD_FILE": "/dev/null"}, "/dev/null is empty"),
        ({"BROKER__PASSWORD": SECRET, "AMQP_URL": "amqp://u:p@a/"}, "the URL has a password"),
        ({"BROKER__PASSWORD": SECRET, "AMQP_URL": "amqp://a/"}, "names no user"),
        ({"BROKER__TLS__CA_FILE": "/x"}, "write amqps://"),
        ({"BROKER__TLS__CA_FILE": "/nowhere.pem", "AMQP_URL": "amqps://u@a/"}, "/nowhere.pem is not there"),
        ({"BROKER__TLS__LOG_IN": "true", "AMQP_URL": "amqps://u@a/"}, "needs a certificate"),
        ({"BROKER__TLS__LOG_IN": "true", "AMQP_URL": "amqps://u:p@a/"}, "there must be no password"),
        ({"BROKER__TLS__CA_FILE": "/etc/hostname", "AMQP_URL": "amqps://u@a/"}, "cannot be used"),
    ],
)
def test_what_contradicts_itself_is_refused(environ: dict[str, str], said: str) -> None:
    """Credentials that contradict each other, or cannot be read, are told with their mend before anything starts."""
    assert said in refusal(**{"AMQP_URL": "amqp://u@a/", **environ})


def test_no_password_in_the_configuration_file(tmp_path: Path) -> None:
    """A password in the configuration file itself is refused, unsaid."""
    path = tmp_path / "sidecar.toml"
    path.write_text(f'[broker]\npassword = "{SECRET}"\n')
    with pytest.raises(ConfigError, match="SIDECAR_BROKER__PASSWORD") as caught:
        load_settings(path, environ={})
    assert SECRET not in str(caught.value)


def test_certificates_go_where_the_client_looks(certificates: Path) -> None:
    """Authority, certificate and key are in every URL, and the way to log in; without log_in the password stays."""
    pem = {
        "BROKER__TLS__CA_FILE": str(certificates / "ca.pem"),
        "BROKER__TLS__CERT_FILE": str(certificates / "exec-a.pem"),
        "BROKER__TLS__KEY_FILE": str(certificates / "exec-a.key"),
    }
    (url,) = urls(load(AMQP_URL="amqps://exec-a@broker-1/", BROKER__TLS__LOG_IN="true", **pem))
    for each in ("cafile=", "certfile=", "keyfile=", "auth=external"):
        assert each in url
    (url,) = urls(load(AMQP_URL="amqps://exec-a@broker-1/", BROKER__PASSWORD="p", **pem))
    assert url.startswith("amqps://exec-a:p@broker-1/?cafile=")
    assert "auth" not in url
    wrong = pem | {"BROKER__TLS__KEY_FILE": str(certificates / "exec-b.key")}
    assert "key_file belongs to cert_file" in refusal(AMQP_URL="amqps://exec-a@broker-1/", **wrong)


def test_keys_are_for_their_owner(certificates: Path) -> None:
    """The script makes private keys that only their owner reads."""
    assert {each.stat().st_mode & 0o777 for each in certificates.glob("*.key")} == {0o600}


def test_what_we_start_inherits_no_secret() -> None:
    """A component's environment is ours, without what opens the broker or the archive."""
    ours = {"PATH": "/bin", "SIDECAR_SOCKET": "s", "SIDECAR_BROKER__PASSWORD_FILE": "/run/secrets/p"}
    secret = dict.fromkeys(
        (
            "SIDECAR_AMQP_URL",
            "SIDECAR_BROKER__URLS",
            "SIDECAR_BROKER__PASSWORD",
            "SIDECAR_BROKER__MANAGEMENT_URL",
            "SIDECAR_ARCHIVE__URL",
        ),
        SECRET,
    )
    assert without_secrets(ours | secret) == ours
