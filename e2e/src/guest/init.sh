#!/bin/sh
# The first process of the guest: mounts, modules, network, then the test's own script, which has the functions below.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
read -r uptime _ </proc/uptime
echo "guest: the kernel is up after $uptime s"
for module in $(cat /modules/order); do
	insmod "/modules/$module" || echo "guest: the module $module cannot be loaded"
done
read -r uptime _ </proc/uptime
echo "guest: modules are loaded after $uptime s"
ifconfig lo 127.0.0.1 up
# Where QEMU's user networking has the guest, and itself; the machine that QEMU runs on is 10.0.2.2.
if [ -e /sys/class/net/eth0 ]; then
	ifconfig eth0 10.0.2.15 up && route add default gw 10.0.2.2
fi

# disk SERIAL TYPE FOLDER [OPTIONS]: mounts the disk with that serial number.
disk() {
	for block in /sys/block/vd*; do
		if [ "$(cat "$block/serial")" = "$1" ]; then
			mkdir -p "$3"
			mount -t "$2" -o "${4:-rw}" "/dev/${block##*/}" "$3" && return
		fi
	done
	echo "guest: cannot mount the disk $1"
	return 1
}

# seed NAME FOLDER: copies /seed/NAME there at the first boot, and when the kernel's command line has reseed=NAME, and makes it durable.
seed() {
	if [ -e "$2/.seeded" ] && ! grep -qw "reseed=$1" /proc/cmdline; then
		return
	fi
	rm -rf "$2"/* "$2/.seeded"
	cp -a "/seed/$1/." "$2/"
	sync
	touch "$2/.seeded"
	sync
}

# start NAME COMMAND…: runs it beside everything else; says so when it ends.
start() {
	name=$1
	shift
	(
		"$@"
		echo "guest: $name has ended with $?"
	) &
}

# Read here rather than run, for the functions and for what is started to stay.
set -e
trap 'echo "guest: the script has failed"' EXIT
. /script
trap - EXIT
read -r uptime _ </proc/uptime
echo "guest: ready after $uptime s"
set +e
while :; do
	sleep 3600
done
