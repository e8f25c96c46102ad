# Sourced by every bash that is no terminal's (BASH_ENV): the variables of Ray, where something else than `verdict serve`
# starts it. METRICS_PORT as in ray start --metrics-export-port.
case "${BASH_EXECUTION_STRING:-}" in
  "wget "*) return ;; # KubeRay's probe of a worker, each five seconds, of which one that takes two takes it out of service
esac
if [ -z "${RAY_SERVE_THROUGHPUT_OPTIMIZED:-}" ]; then
  eval "$(/opt/verdict/.venv/bin/python -m serve_app.environment /run/verdict/i --metrics-port "${METRICS_PORT:-0}")"
fi
