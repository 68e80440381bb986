{{/* made by generate.py: what extraEnv refuses */}}
{{- define "kite-connector.secretVariables" -}}
- pattern: ^KITE_ACCOUNTS$
  instead: name a Secret in accounts[].secret
- pattern: ^KITE_ACCOUNTS__[0-9]+$
  instead: name a Secret in accounts[].secret
- pattern: ^KITE_ACCOUNTS__[0-9]+__ACCESS_TOKEN$
  instead: name a Secret in accounts[].secret
- pattern: ^KITE_ACCOUNTS__[0-9]+__API_KEY$
  instead: name a Secret in accounts[].secret
- pattern: ^KITE_ACCOUNTS__[0-9]+__API_SECRET$
  instead: name a Secret in accounts[].secret
- pattern: ^KITE_KAFKA$
  instead: name a Secret in kafka.credentials.secret
- pattern: ^KITE_KAFKA__CLIENT$
  instead: give properties without secrets in settings.kafka.client
- pattern: ^KITE_KAFKA__OAUTH$
  instead: name a Secret in kafka.oauth.secret
- pattern: ^KITE_KAFKA__OAUTH__CLIENT_SECRET$
  instead: name a Secret in kafka.oauth.secret
- pattern: ^KITE_KAFKA__SASL_PASSWORD$
  instead: name a Secret in kafka.credentials.secret
- pattern: ^KITE_KAFKA__SSL_KEY_PASSWORD$
  instead: name the Secret's key in kafka.tls.keyPasswordKey
- pattern: ^KITE_REGISTRY$
  instead: name a Secret in registry.credentials.secret
- pattern: ^KITE_REGISTRY__OAUTH$
  instead: name a Secret in registry.oauth.secret
- pattern: ^KITE_REGISTRY__OAUTH__CLIENT_SECRET$
  instead: name a Secret in registry.oauth.secret
- pattern: ^KITE_REGISTRY__PASSWORD$
  instead: name a Secret in registry.credentials.secret
{{- end -}}
