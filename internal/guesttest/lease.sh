#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# What udhcpc runs when it has, or loses, a lease.
case $1 in
bound | renew) ;;
*) exit 0 ;;
esac
ip address flush dev "$interface"
ip address add "$ip/$mask" dev "$interface"
[ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
for gateway in $router; do
	ip route add default via "$gateway" dev "$interface"
	break
done
: >/etc/resolv.conf
for server in $dns; do
	echo "nameserver $server" >>/etc/resolv.conf
done
echo "$ip/$mask router=${router// /,} dns=${dns// /,} mtu=$mtu server=$serverid seconds=$lease" >/run/lease
