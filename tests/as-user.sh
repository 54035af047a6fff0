#!/bin/sh
# Runs a test as root or as an ordinary user, whoever ctest runs as. Exit status 77 means skipped; each
# reason is a line of skips.txt.
# usage: as-user.sh root|rootless COMMAND...
set -eu
ring=$1
shift
uid=$(id -u)
case $ring in
  root)
    if [ "$uid" -ne 0 ]; then
      echo "skipped: the tests run as uid $uid, and this one makes network namespaces as root"
      exit 77
    fi
    exec "$@"
    ;;
  rootless)
    if [ "$uid" -eq 0 ]; then
      set -- setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
      user='setpriv --reuid=65534 --regid=65534 --clear-groups --'
    else
      user=
    fi
    if ! $user unshare --user --map-root-user true; then
      echo "skipped: this kernel lets no ordinary user make a user namespace"
      exit 77
    fi
    exec "$@"
    ;;
  *)
    echo "usage: as-user.sh root|rootless COMMAND..." >&2
    exit 2
    ;;
esac
