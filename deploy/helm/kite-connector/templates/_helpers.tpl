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
{{- if not $simulated }}{{ $_ := set $account "access_token_file" (printf "/var/run/kite/%s/access_token" .name) }}{{ end -}}
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
{{- end -}}
{{- end -}}
{{- with .Values.registry.tls -}}
{{- if .secret }}{{ $_ := set $own.registry "ca_file" (printf "/etc/kite-connector/registry-tls/%s" .caKey) }}{{ end -}}
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

{{/* secrets of the connector's environment; each names a key of an existing Secret */}}
{{- define "kite-connector.secretEnv" -}}
{{- if .Values.simulator.enabled -}}
- name: KITE_ACCOUNTS__0__API_KEY
  value: simulated_key
- name: KITE_ACCOUNTS__0__ACCESS_TOKEN
  value: simulated_token
{{- else -}}
{{- range $index, $account := .Values.accounts }}
- name: KITE_ACCOUNTS__{{ $index }}__API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ $account.secret.name }}
      key: {{ default "api_key" $account.secret.key }}
{{- end }}
{{- end }}
{{- with .Values.kafka.credentials }}
{{- if .secret }}
- name: KITE_KAFKA__SASL_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .usernameKey }}
- name: KITE_KAFKA__SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .passwordKey }}
{{- end }}
{{- end }}
{{- with .Values.registry.credentials }}
{{- if .secret }}
- name: KITE_REGISTRY__USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .usernameKey }}
- name: KITE_REGISTRY__PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .passwordKey }}
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
