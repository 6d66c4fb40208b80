#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The guest's first process. What it says to the test are lines that begin with @@; the test's
# commands come as lines on the console, and after `@@ end` the guest waits for the next.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
# Commands arrive as they are, nothing of them is echoed, and lines end as the test's do.
stty -F /dev/ttyS0 -echo -onlcr
exec </dev/ttyS0 >/dev/ttyS0 2>&1
say() { echo "@@ $*"; }
echo # whatever the BIOS left on the line
say booted "$(cut -d' ' -f1 /proc/uptime)"

life=
for word in $(cat /proc/cmdline); do
	case $word in guest.life=*) life=${word#*=} ;; esac
done
# A guest outlives no test by much, even one that could not clean up: -no-reboot makes this QEMU's end.
[ -z "$life" ] || (sleep "$life"; reboot -f) &

for module in $(cat /modules/order); do
	insmod "/modules/$module.ko" || say trouble "module $module"
done
ip link set lo up

address=none
if [ -e /sys/class/net/eth0 ]; then
	ip link set eth0 up
	if [ -s /static ]; then
		ip address add "$(cat /static)" dev eth0 && address=$(cat /static)
	elif udhcpc -i eth0 -n -q -f -t 10 -T 1 -s /lease >/dev/null; then
		address=$(cat /run/lease)
	fi
else
	say trouble "no eth0"
fi
say network "$address"

# run NUMBER COMMAND: the mark at the end tells the status. A command's output may lack its last newline.
run() {
	say begin "$1"
	(eval "$2") </dev/null
	status=$?
	echo
	say end "$1" "$status"
}
sh /commands </dev/null
say ready "$(cut -d' ' -f1 /proc/uptime)"
while read -r number command; do
	run "$number" "$command"
done
reboot -f
