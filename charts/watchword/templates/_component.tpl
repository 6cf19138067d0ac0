{{/* Everything one component consists of: dict "root" $ "component" NAME "values" ITS-VALUES. */}}
{{- define "watchword.component" -}}
{{- $name := printf "%s-%s" (include "watchword.name" .root) .component -}}
{{- $streams := include "watchword.streams" . -}}
{{- $judges := has .component (list "safety" "memory") -}}
{{- $policies := ternary (.root.Values.policies | default "") "" $judges -}}
{{- $auditKey := and $judges .root.Values.auditKey.secretName -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  labels: {{- include "watchword.labels" . | nindent 4 }}
spec:
  replicas: {{ .values.replicas }}
  selector:
    matchLabels: {{- include "watchword.selector" . | nindent 6 }}
  {{- if .values.storage }}
  # The store is one file on a volume that one pod holds.
  strategy: {type: Recreate}
  {{- end }}
  template:
    metadata:
      labels: {{- include "watchword.labels" . | nindent 8 }}
      {{- if $streams }}
      # The file is read once, so pods are made anew with it.
      annotations:
        watchword/streams: {{ sha256sum $streams }}
      {{- end }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 30
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      # Pod security standard "restricted".
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: {{ .component }}
          image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: [serve, {{ .component }}]
          env:
            {{- range $setting, $value := include "watchword.settings" . | fromYaml }}
            - name: {{ $setting }}
              value: {{ $value | quote }}
            {{- end }}
            {{- if .values.exposed }}
            - name: WATCHWORD_API_KEY
              valueFrom:
                secretKeyRef:
                  name: {{ .root.Values.apiKey.secretName }}
                  key: {{ .root.Values.apiKey.key }}
            {{- end }}
            {{- with .root.Values.modelKey }}
            {{- if and .secretName (eq $.component "transcriber") }}
            - name: WATCHWORD_MODEL_KEY
              valueFrom:
                secretKeyRef:
                  name: {{ .secretName }}
                  key: {{ .key }}
            {{- end }}
            {{- end }}
            {{- with .root.Values.answerKey }}
            {{- if and .secretName (eq $.component "memory") }}
            - name: WATCHWORD_ANSWER_KEY
              valueFrom:
                secretKeyRef:
                  name: {{ .secretName }}
                  key: {{ .key }}
            {{- end }}
            {{- end }}
            {{- with .root.Values.database }}
            {{- if and .secretName (eq $.component "memory") }}
            - name: WATCHWORD_STORE
              valueFrom:
                secretKeyRef:
                  name: {{ .secretName }}
                  key: {{ .key }}
            {{- end }}
            {{- end }}
          {{- if .values.exposed }}
          ports:
            - name: grpc
              containerPort: {{ .values.port }}
            {{- with .values.httpPort }}
            - name: http
              containerPort: {{ . }}
            {{- end }}
          {{- end }}
          # Models load before a service answers.
          startupProbe:
            {{- include "watchword.health" . | nindent 12 }}
            periodSeconds: 5
            timeoutSeconds: 10
            failureThreshold: 60
          readinessProbe:
            {{- include "watchword.health" . | nindent 12 }}
            periodSeconds: 15
            timeoutSeconds: 10
          livenessProbe:
            {{- include "watchword.health" . | nindent 12 }}
            periodSeconds: 30
            timeoutSeconds: 15
            failureThreshold: 4
          resources: {{- toYaml .values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
            {{- if .values.exposed }}
            - name: tls
              mountPath: /etc/watchword/tls
              readOnly: true
            {{- end }}
            {{- if .values.storage }}
            - name: store
              mountPath: /var/lib/watchword
            {{- end }}
            {{- if $streams }}
            - name: streams
              mountPath: /etc/watchword/streams
              readOnly: true
            {{- end }}
            {{- if $policies }}
            # The whole folder: a file mounted by itself would not change with the object.
            - name: policies
              mountPath: /etc/watchword/policies
              readOnly: true
            {{- end }}
            {{- if $auditKey }}
            - name: audit-key
              mountPath: /etc/watchword/audit
              readOnly: true
            {{- end }}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 1Gi}
        {{- if .values.exposed }}
        - name: tls
          secret:
            secretName: {{ .root.Values.tls.secretName }}
            defaultMode: 0440
        {{- end }}
        {{- if .values.storage }}
        - name: store
          persistentVolumeClaim:
            claimName: {{ $name }}
        {{- end }}
        {{- if $streams }}
        - name: streams
          configMap:
            name: {{ $name }}
        {{- end }}
        {{- if $policies }}
        - name: policies
          configMap:
            name: {{ include "watchword.name" .root }}-policies
        {{- end }}
        {{- if $auditKey }}
        - name: audit-key
          secret:
            secretName: {{ .root.Values.auditKey.secretName }}
            defaultMode: 0440
        {{- end }}
      {{- with .root.Values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .root.Values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
{{- if .values.exposed }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  labels: {{- include "watchword.labels" . | nindent 4 }}
spec:
  selector: {{- include "watchword.selector" . | nindent 4 }}
  ports:
    - name: grpc
      port: {{ .values.port }}
      targetPort: grpc
    {{- with .values.httpPort }}
    - name: http
      port: {{ . }}
      targetPort: http
    {{- end }}
{{- end }}
{{- if $streams }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}
  labels: {{- include "watchword.labels" . | nindent 4 }}
data:
  streams.toml: | {{- $streams | nindent 4 }}
{{- end }}
{{- with .values.storage }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ $name }}
  labels: {{- include "watchword.labels" $ | nindent 4 }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .size }}
{{- end }}
{{- end -}}
