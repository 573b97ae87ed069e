#!/bin/sh
# Prints the metrics of metrics.md in the text format of Prometheus: for the textfile collector of node_exporter,
#   export.sh >orchestration.prom.new && mv orchestration.prom.new orchestration.prom
# every few minutes. Needs jq, and gh with access to the repository.
set -eu
for name in orchestration_runs orchestration_run_seconds orchestration_job_seconds; do
  echo "# TYPE $name gauge"
done
for file in FILES; do
  workflow=.github/workflows/$file
  gh run list --workflow "$file" --status completed --limit 100 --json conclusion,startedAt,updatedAt |
    jq -r --arg workflow "$workflow" '
      def at: fromdateiso8601;
      (map(select((.updatedAt | at) > now - 86400)) | group_by(.conclusion)[]
        | "orchestration_runs{workflow=\($workflow | tojson),conclusion=\(.[0].conclusion | tojson)} \(length)"),
      (.[:1][] | "orchestration_run_seconds{workflow=\($workflow | tojson)} \((.updatedAt | at) - (.startedAt | at))")'
  run=$(gh run list --workflow "$file" --status success --limit 1 --json databaseId --jq '.[0].databaseId // empty')
  if [ -n "$run" ]; then
    gh run view "$run" --json jobs | jq -r --arg workflow "$workflow" '
      def at: fromdateiso8601;
      .jobs[] | select(.conclusion == "success")
        | "orchestration_job_seconds{workflow=\($workflow | tojson),job=\(.name | tojson)} \((.completedAt | at) - (.startedAt | at))"'
  fi
done
