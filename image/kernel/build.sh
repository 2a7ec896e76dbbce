#!/usr/bin/env bash
# Builds the enclave's kernel: build.sh SOURCE.tar.xz FOLDER puts FOLDER/bzImage, FOLDER/kernel.config, FOLDER/System.map and, last of
# all, FOLDER/facts (the versions that the bytes depend on). What is made depends on the source, on the files beside
# this script and on gcc, binutils and gzip, and on nothing else: not on folder, user, time, umask, locale or number of jobs.
# BUILD_JOBS sets make's -j. Needs gcc make flex bison bc patch xz-utils libelf-dev libc6-dev.
set -euo pipefail
usage="usage: build.sh SOURCE.tar.xz FOLDER"
source=$(realpath "${1:?$usage}")
folder=${2:?$usage}
here=$(cd "$(dirname "$0")" && pwd)
jobs=${BUILD_JOBS:-$(nproc)}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# What the shell that calls us has set (CFLAGS, ARCH, LOCALVERSION, MAKEFLAGS, KCFLAGS, …) must not reach the compiler.
if [ -z "${TMKMS_KERNEL_CLEAN-}" ]; then
	exec env -i TMKMS_KERNEL_CLEAN=1 PATH="$PATH" HOME=/nonexistent TMPDIR="${TMPDIR-/tmp}" LC_ALL=C TZ=UTC BUILD_JOBS="$jobs" bash "$here/build.sh" "$source" "$folder"
fi
umask 022
say() { echo "kernel: $*"; }

# One build in a folder at a time.
exec 9>"$folder/.lock"
flock 9
# The kernel's makefiles cannot do with spaces and colons in a folder's name.
work=$folder
case $folder in *[[:space:]:]*) work=$(mktemp -d) ;; esac
rm -rf "$work/src" "$folder/facts"
mkdir "$work/src"
# The unpacked source and its objects are 1.7 GB, and worth nothing afterwards.
trap 'cd /; rm -rf "$work/src"; [ "$work" = "$folder" ] || rmdir "$work"' EXIT

say "unpacking $(basename "$source")"
tar -xf "$source" -C "$work/src" --strip-components=1 --no-same-owner
cd "$work/src"

# Only a source that still has the rule needs the patch; one that has it in another form must be looked at by a person.
if grep -q virtio_transport_more_replies net/vmw_vsock/virtio_transport.c; then
	patch --quiet --strip=1 --fuzz=0 --input="$here/vsock-always-receives.patch"
	say "patched: vsock always receives"
else
	say "not patched: this source has no virtio-vsock pushback any more"
fi

export KBUILD_BUILD_USER=tmkms KBUILD_BUILD_HOST=enclave KBUILD_BUILD_TIMESTAMP=@1 KBUILD_BUILD_VERSION=1 LOCALVERSION=
export SOURCE_DATE_EPOCH=1
make -s KCONFIG_ALLCONFIG="$here/enclave.config" allnoconfig

# kconfig drops an option whose dependencies are not met, and says nothing.
wrong=
while IFS= read -r line; do
	case $line in
	CONFIG_*=*) grep -qxF -- "$line" .config || wrong="$wrong ${line#CONFIG_}" ;;
	"# CONFIG_"*" is not set")
		name=${line#\# CONFIG_}
		name=${name% is not set}
		! grep -q "^CONFIG_$name=" .config || wrong="$wrong $name=n"
		;;
	esac
done <"$here/enclave.config"
# What a later version of the source adds is off in allnoconfig: a mitigation wants a person's yes or no.
while IFS= read -r line; do
	grep -qxF -- "$line" "$here/enclave.config" || { name=${line#\# CONFIG_}; wrong="$wrong ${name% is not set}?"; }
done < <(grep '^# CONFIG_MITIGATION_.* is not set$' .config)
if [ -n "$wrong" ]; then
	echo "image/kernel/enclave.config asks for what kernel $(make -s kernelversion) does not do (unmet dependencies, or the option has another name now), or says nothing of (\"?\": a mitigation that is off and not named):$wrong" >&2
	exit 1
fi
say "configured: $(grep -c '=y$' .config) options on"

started=$SECONDS
make -j"$jobs" bzImage 2>"$folder/build.errors" |
	awk -v log_file="$folder/build.log" '{ n++; print > log_file } n % 200 == 0 { print "kernel: " n " steps of about 1,280"; fflush() }' ||
	{ tail -n 40 "$folder/build.errors" >&2; exit 1; }
say "compiled in $((SECONDS - started)) s"

for made in arch/x86/boot/bzImage:bzImage .config:kernel.config System.map:System.map; do
	cp "${made%%:*}" "$folder/${made##*:}.new"
	mv "$folder/${made##*:}.new" "$folder/${made##*:}"
done
{
	echo "version=$(make -s kernelversion)"
	echo "gcc=$(gcc --version | head -n 1)"
	echo "binutils=$(ld --version | head -n 1)"
	echo "gzip=$(gzip --version | head -n 1)"
	echo "bzImage=$(sha256sum <"$folder/bzImage" | cut -d' ' -f1)"
	echo "kernel.config=$(sha256sum <"$folder/kernel.config" | cut -d' ' -f1)"
} >"$folder/facts.new"
cd "$folder"
rm build.errors
mv facts.new facts
say "ready: $(stat -c %s bzImage) bytes, sha256 $(sha256sum <bzImage | cut -c1-16)…"
