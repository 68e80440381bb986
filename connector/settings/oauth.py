"""OAuth 2.0 client credentials: how the connector gets tokens (RFC 6749, 4.4)."""

from __future__ import annotations

from pydantic import Field, SecretStr

from connector.settings.section import FilePath, HttpUrl, Section

_CLOUD_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class OAuthSettings(Section):
    """OAuth 2.0 tokens in place of a password: who gives them, and who we are to it."""

    token_url: HttpUrl | None = Field(
        None, description="Fetch tokens from this token endpoint (OpenID Connect)."
    )
    client_id: str | None = Field(None, description="Ask for tokens as this client.")
    client_secret: SecretStr | None = Field(
        None, description="The secret that belongs to client_id."
    )
    client_secret_file: FilePath | None = Field(
        None,
        description="A file that holds the secret, in place of client_secret; it may change.",
    )
    scope: str | None = Field(
        None, description="Ask for tokens with this scope; several with spaces."
    )
    ca_file: FilePath | None = Field(
        None,
        description="Trust the token endpoint by the authorities in this PEM file; null means the "
        "system's.",
    )

    logical_cluster: str | None = Field(
        None,
        pattern=_CLOUD_ID,
        description="Tell Confluent Cloud the id of the cluster (lkc-…; a registry lsrc-…).",
    )
    identity_pool: str | None = Field(
        None,
        pattern=_CLOUD_ID,
        description="Tell Confluent Cloud the id of the identity pool (pool-…).",
    )

    def missing(self) -> list[str]:
        """Return the names of what is not given and has to be."""
        return [
            name
            for name in ("token_url", "client_id", "client_secret")
            if getattr(self, name) is None
        ]

    def given(self) -> list[str]:
        """Return the names of what is given."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]
