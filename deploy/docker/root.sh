#!/bin/sh
# root.sh PROGRAMS ROOT: makes the image's root out of the three programs and this system's libraries.
set -eu
programs=$1
root=$2
here=$(dirname "$0")

umask 022
mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/share" "$root/etc/ssl/certs" "$root/etc/sluice/policy"
for name in bin lib lib64; do ln -s "usr/$name" "$root/$name"; done

for name in sluice sluiced sluice-netns; do
  cp "$programs/$name" "$root/usr/bin/$name"
  chmod 755 "$root/usr/bin/$name"
  # "NAME => PATH (ADDRESS)", and the linker itself as "PATH (ADDRESS)".
  ldd "$programs/$name" >/tmp/needed
  while read -r first second third _; do
    case $second in
      '=>') path=$third ;;
      *) path=$first ;;
    esac
    case $path in
      /*) ;;
      not) echo "error: $name needs $first, which is not here" >&2 && exit 1 ;;
      *) continue ;; # the kernel's own
    esac
    mkdir -p "$root$(dirname "$path")"
    cp -L "$path" "$root$path"
    chmod 755 "$root$path"
  done </tmp/needed
done
rm /tmp/needed

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp "$here/sluiced.yaml" "$root/etc/sluice/sluiced.yaml"
cp "$here/policy.yaml" "$root/etc/sluice/policy/policy.yaml"
echo 'root:x:0:0::/:/sbin/nologin
sluice:x:65532:65532::/:/sbin/nologin' >"$root/etc/passwd"
echo 'root:x:0:
sluice:x:65532:' >"$root/etc/group"
chmod 644 "$root"/etc/ssl/certs/* "$root"/etc/sluice/sluiced.yaml "$root"/etc/sluice/policy/policy.yaml
for folder in run var/lib; do
  mkdir -p "$root/$folder/sluice"
  chown 65532:65532 "$root/$folder/sluice"
done
