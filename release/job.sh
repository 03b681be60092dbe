# shellcheck shell=bash
# `. release/job.sh BINARY`: what a job that writes records has: the program, the job's own identity, the ledger's key and
# the logins of git and the registry. Secrets are files below RUNNER_TEMP and nothing in the environment of what comes after.
umask 077
chmod +x "$1"
SAMEBITS=$(realpath "$1")
SAMEBITS_SIGN=--keyless=public-good
SAMEBITS_LEDGER_KEY=${RUNNER_TEMP:?}/ledger.key
export SAMEBITS SAMEBITS_SIGN SAMEBITS_LEDGER_KEY
printf '%s\n' "${LEDGER_KEY:?the secret SAMEBITS_LEDGER_KEY is not set for this environment}" >"$SAMEBITS_LEDGER_KEY"
unset LEDGER_KEY
docker login ghcr.io --username "${GITHUB_ACTOR:?}" --password-stdin <<<"${GH_TOKEN:?}" >/dev/null
gh auth setup-git
