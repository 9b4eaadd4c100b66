#!/bin/sh
# Run in the network namespace of the container that suffers: bad-network.sh begin | end
#
# What goes out of an interface waits in a narrow line (tc-tbf: up to 200 ms, then it is dropped), and of what comes in
# one packet in ten is lost (nftables). Not tc-netem, which many kernels leave out.
set -eu
interfaces=$(ip -brief link | sed -n 's/^\(eth[0-9]*\).*/\1/p')
case $1 in
begin)
    for interface in $interfaces; do
        tc qdisc replace dev "$interface" root tbf rate 1mbit burst 3000 latency 200ms
    done
    nft 'add table inet bad_network; add chain inet bad_network input { type filter hook input priority 0; }'
    nft 'add rule inet bad_network input iifname "eth*" numgen random mod 10 == 0 drop'
    ;;
end)
    for interface in $interfaces; do
        tc qdisc del dev "$interface" root 2>/dev/null || true
    done
    nft 'add table inet bad_network; delete table inet bad_network'
    ;;
esac
