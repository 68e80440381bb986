{{- define "kite-connector.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "kite-connector.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "kite-connector.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "kite-connector.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "kite-connector.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: kite-connector
{{- end -}}

{{/* never change these: a StatefulSet's selector is immutable */}}
{{- define "kite-connector.selector" -}}
app.kubernetes.io/name: {{ include "kite-connector.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "kite-connector.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "kite-connector.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "kite-connector.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "kite-connector.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* where an image comes from, and which nodes take it: the same for all pods of the release */}}
{{- define "kite-connector.podPlace" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* egress to the name servers */}}
{{- define "kite-connector.dns" -}}
- ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - port: {{ int . }}
      protocol: UDP
    - port: {{ int . }}
      protocol: TCP
    {{- end }}
{{- end -}}

{{/* egress to the brokers */}}
{{- define "kite-connector.brokers" -}}
{{- $settings := include "kite-connector.settings" . | fromYaml }}
{{- $kafka := dict }}
{{- range splitList "," $settings.kafka.bootstrap_servers }}
{{- $_ := set $kafka (splitList ":" . | last | trim) true }}
{{- end }}
{{- range .Values.networkPolicy.kafkaPorts }}
{{- $_ := set $kafka (toString (int .)) true }}
{{- end -}}
- ports:
    {{- range keys $kafka | sortAlpha }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .Values.networkPolicy.kafkaTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "kite-connector.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "kite-connector.simulator" -}}
{{ include "kite-connector.fullname" . }}-simulator
{{- end -}}

{{/* the api_keys; with the simulator on its only one */}}
{{- define "kite-connector.accounts" -}}
{{- if .Values.simulator.enabled -}}
accounts: [{name: simulated, connections: 3}]
{{- else -}}
{{- if not .Values.accounts }}{{ fail "accounts: at least one is needed, or simulator.enabled" }}{{ end -}}
accounts: {{ toJson .Values.accounts }}
{{- end -}}
{{- end -}}

{{- define "kite-connector.slots" -}}
{{- $slots := 0 -}}
{{- range (include "kite-connector.accounts" . | fromYaml).accounts -}}
{{- $slots = add $slots (int (default 3 .connections)) -}}
{{- end -}}
{{- $slots -}}
{{- end -}}

{{/* the whole settings file: the user's part, and what follows from the chart's other values */}}
{{- define "kite-connector.settings" -}}
{{- $simulated := .Values.simulator.enabled -}}
{{- $accounts := list -}}
{{- range (include "kite-connector.accounts" . | fromYaml).accounts -}}
{{- $account := dict "name" .name "connections" (int (default 3 .connections)) -}}
{{- if not $simulated }}{{ $_ := set $account "api_key_file" (printf "/var/run/kite/%s/api_key" .name) }}{{ $_ := set $account "access_token_file" (printf "/var/run/kite/%s/access_token" .name) }}{{ end -}}
{{- $accounts = append $accounts $account -}}
{{- end -}}
{{- $own := dict
  "accounts" $accounts
  "http" (dict "host" "0.0.0.0" "port" 8090)
  "spool" (dict "directory" "/var/lib/kite-connector/spool" "ephemeral" (not .Values.spool.persistence.enabled))
  "kafka" dict
  "registry" dict
-}}
{{- with .Values.kafka.tls -}}
{{- if .secret -}}
{{- if .caKey }}{{ $_ := set $own.kafka "ssl_ca_file" (printf "/etc/kite-connector/kafka-tls/%s" .caKey) }}{{ end -}}
{{- if .certificateKey }}{{ $_ := set $own.kafka "ssl_certificate_file" (printf "/etc/kite-connector/kafka-tls/%s" .certificateKey) }}{{ end -}}
{{- if .keyKey }}{{ $_ := set $own.kafka "ssl_key_file" (printf "/etc/kite-connector/kafka-tls/%s" .keyKey) }}{{ end -}}
{{- if .keyPasswordKey }}{{ $_ := set $own.kafka "ssl_key_password_file" (printf "/etc/kite-connector/kafka-tls/%s" .keyPasswordKey) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with .Values.registry.tls -}}
{{- if .secret }}{{ $_ := set $own.registry "ca_file" (printf "/etc/kite-connector/registry-tls/%s" .caKey) }}{{ end -}}
{{- end -}}
{{- if .Values.kafka.credentials.secret -}}
{{- $_ := set $own.kafka "sasl_username_file" "/var/run/kite-logins/kafka/username" -}}
{{- $_ := set $own.kafka "sasl_password_file" "/var/run/kite-logins/kafka/password" -}}
{{- end -}}
{{- if .Values.registry.credentials.secret -}}
{{- $_ := set $own.registry "username_file" "/var/run/kite-logins/registry/username" -}}
{{- $_ := set $own.registry "password_file" "/var/run/kite-logins/registry/password" -}}
{{- end -}}
{{- range $name := tuple "kafka" "registry" -}}
{{- if (index $.Values $name).oauth.secret -}}
{{- $_ := set (index $own $name) "oauth" (dict "client_secret_file" (printf "/var/run/kite-logins/%s-oauth/client_secret" $name)) -}}
{{- end -}}
{{- end -}}
{{- if $simulated -}}
{{- $host := include "kite-connector.simulator" . -}}
{{- $_ := set $own "feed" (dict "root" (printf "ws://%s:8765" $host) "rest" (printf "http://%s:8766" $host) "login" (printf "http://%s:8766" $host)) -}}
{{- end -}}
{{- $defaults := dict
  "name" (include "kite-connector.fullname" .)
  "instrument_master" (dict "cache_file" "/var/lib/kite-connector/instruments.csv")
  "logging" (dict "format" "json")
-}}
{{- toYaml (mustMergeOverwrite $defaults (deepCopy .Values.settings) $own) -}}
{{- end -}}

{{/* the connector's login to the simulator, which is no secret; real ones are files */}}
{{- define "kite-connector.simulatedEnv" -}}
{{- if .Values.simulator.enabled -}}
- name: KITE_ACCOUNTS__0__API_KEY
  value: simulated_key
- name: KITE_ACCOUNTS__0__ACCESS_TOKEN
  value: simulated_token
{{- end -}}
{{- end -}}

{{/* the user's variables; those of secrets would be shown by whoever describes the pod */}}
{{- define "kite-connector.extraEnv" -}}
{{- $refused := include "kite-connector.secretVariables" . | fromYamlArray -}}
{{- range $variable := .Values.extraEnv -}}
{{- range $refused -}}
{{- if regexMatch .pattern $variable.name -}}
{{- fail (printf "extraEnv: %s would put a secret into the pod's environment, for whoever may see the pod; secrets are files: %s" $variable.name .instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.extraEnv }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* where the secrets are mounted: whole folders, since a file mounted by subPath would never change */}}
{{- define "kite-connector.secretMounts" -}}
{{- if not .Values.simulator.enabled }}
{{- range .Values.accounts }}
- name: account-{{ .name }}
  mountPath: /var/run/kite/{{ .name }}
  readOnly: true
{{- end }}
{{- end }}
{{- range tuple "kafka" "registry" }}
{{- $section := index $.Values . }}
{{- if $section.credentials.secret }}
- name: {{ . }}-login
  mountPath: /var/run/kite-logins/{{ . }}
  readOnly: true
{{- end }}
{{- if $section.oauth.secret }}
- name: {{ . }}-oauth
  mountPath: /var/run/kite-logins/{{ . }}-oauth
  readOnly: true
{{- end }}
{{- if $section.tls.secret }}
- name: {{ . }}-tls
  mountPath: /etc/kite-connector/{{ . }}-tls
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{/* the volumes of these; each of existing Secrets */}}
{{- define "kite-connector.secretVolumes" -}}
{{- if not .Values.simulator.enabled }}
{{- range .Values.accounts }}
{{- $token := default .secret .tokenSecret }}
- name: account-{{ .name }}
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .secret.name }}
          items:
            - key: {{ default "api_key" .secret.key }}
              path: api_key
      - secret:
          name: {{ $token.name }}
          # the token may come later: the connector waits for it
          optional: true
          items:
            - key: {{ ternary (default "access_token" $token.key) "access_token" (hasKey . "tokenSecret") }}
              path: access_token
{{- end }}
{{- end }}
{{- range tuple "kafka" "registry" }}
{{- $section := index $.Values . }}
{{- if $section.credentials.secret }}
- name: {{ . }}-login
  secret:
    secretName: {{ $section.credentials.secret }}
    defaultMode: 0440
    items:
      - key: {{ $section.credentials.usernameKey }}
        path: username
      - key: {{ $section.credentials.passwordKey }}
        path: password
{{- end }}
{{- if $section.oauth.secret }}
- name: {{ . }}-oauth
  secret:
    secretName: {{ $section.oauth.secret }}
    defaultMode: 0440
    items:
      - key: {{ $section.oauth.key }}
        path: client_secret
{{- end }}
{{- if $section.tls.secret }}
- name: {{ . }}-tls
  secret:
    secretName: {{ $section.tls.secret }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end -}}

{{/* the port of a URL, or its scheme's own */}}
{{- define "kite-connector.port" -}}
{{- $host := (urlParse .).host -}}
{{- if regexMatch ":[0-9]+$" $host -}}
{{- regexFind "[0-9]+$" $host -}}
{{- else if hasPrefix "https" . -}}443
{{- else if hasPrefix "wss" . -}}443
{{- else -}}80
{{- end -}}
{{- end -}}

{{/* minutes since midnight of HH:MM */}}
{{- define "kite-connector.minutes" -}}
{{- $parts := splitList ":" . -}}
{{- add (mul 60 (first $parts | atoi)) (last $parts | atoi) -}}
{{- end -}}
