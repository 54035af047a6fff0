#!/usr/bin/env bash
# fetch.sh FOLDER: makes FOLDER/VERSION/{vmlinuz,initrd.gz,modules/} of each stock kernel that apt
# offers (Debian's own, and the 6.12 of its updates), for run.py. Needs cpio, kmod and busybox-static.
set -euo pipefail
folder=$1
mkdir -p "$folder"
cd "$folder"
shopt -s nullglob

stock() { apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1; }
newer() { apt-cache pkgnames linux-image-6.12 | grep -E '^linux-image-6\.12\.[0-9]+\+deb12-amd64$' | sort -V | tail -1; }

# initrd TREE KERNEL: busybox, what 9p and overlay need, and an init that hands over to the guest script.
initrd() {
  local tree=$1 kernel=$2 made module path
  made=$(mktemp -d)
  mkdir -p "$made"/{bin,lib,lower,rw,root,share,proc,sys,dev}
  cp /bin/busybox "$made/bin/busybox"
  for path in sh mount insmod mkdir switch_root; do ln -s busybox "$made/bin/$path"; done
  depmod -b "$tree" "$kernel"
  for module in virtio_pci 9pnet_virtio 9p overlay; do
    modprobe -d "$tree" -S "$kernel" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++' >"$made/order"
  while read -r module; do
    cp "$module" "$made/lib/"
    echo "/lib/$(basename "$module")"
  done <"$made/order" >"$made/modules"
  rm "$made/order"
  cat >"$made/init" <<'INIT'
#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod "$module"; done </modules
options=trans=virtio,version=9p2000.L,msize=1048576
mount -t 9p -o "ro,cache=loose,$options" machine /lower
mount -t tmpfs -o size=75%,mode=755 tmpfs /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work overlay /root
mkdir -p /root/run/stock
mount -t tmpfs tmpfs /root/run
mkdir -p /root/run/stock
mount -t 9p -o "$options" share /root/run/stock
for one in proc sys dev; do mount --move "/$one" "/root/$one"; done
exec switch_root /root /bin/bash /run/stock/guest.sh
INIT
  chmod +x "$made/init"
  (cd "$made" && find . | cpio -o -H newc --quiet | gzip -1) >initrd.made
  rm -rf "$made"
}

for package in $(stock) $(newer); do
  version=$(sed -E 's/linux-image-([0-9]+\.[0-9]+).*/\1/' <<<"$package")
  [ -e "$version/$package" ] && continue
  rm -rf "$version" unpacked
  apt-get download -qq -o APT::Sandbox::User=root "$package"
  archives=("$package"_*.deb)
  dpkg-deb -x "${archives[0]}" unpacked
  rm "${archives[@]}"
  kernel=$(basename unpacked/lib/modules/*)
  initrd unpacked "$kernel"
  mkdir "$version"
  mv initrd.made "$version/initrd.gz"
  mv unpacked/boot/vmlinuz-* "$version/vmlinuz"
  mv unpacked/lib/modules "$version/modules"
  rm -rf unpacked
  touch "$version/$package"
  echo "$version: $package"
done
