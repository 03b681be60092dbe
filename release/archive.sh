# shellcheck shell=bash
# `archive FOLDER NAME…`: what lies in FOLDER as a tar that depends on nothing else: no owner, no time, sorted.
archive() {
  tar --create --directory "$1" --sort=name --mtime=@0 --owner="${OWNER:-0}" --group="${OWNER:-0}" --numeric-owner \
    --format=ustar -- "${@:2}"
}
