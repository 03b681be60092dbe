# shellcheck shell=bash
# What both scripts begin with. They need bash 3.2, which is what macOS has, and are run with `-p`: then bash takes no
# functions, options or start-up files from the environment. What it hands on to others is refused here.
unset ENV BASH_ENV
LC_ALL=C
CDPATH=

# `fail CODE MESSAGE`: 2 where the workflow has to change, 3 where there is no answer. A message may repeat an input,
# so nothing in it can begin another workflow command.
fail() {
  local text=$2
  text=${text//'%'/%25}
  text=${text//$'\r'/%0D}
  text=${text//$'\n'/%0A}
  printf '::error title=samebits::%s\n' "$text"
  exit "$1"
}

# Exit code 1 is a decision, and none was made here.
trap 'case $? in 0 | 2 | 3) ;; *) exit 3 ;; esac' EXIT

case $'\n'$(/usr/bin/env) in
  *$'\n'BASH_FUNC_* | *$'\n'__BASH_FUNC*)
    fail 2 'a function is exported in the environment (BASH_FUNC_…), which can stand in for any program: unset it' ;;
esac
