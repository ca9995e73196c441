#!/bin/sh
# Process 1 of the guest: the kernel file systems as a systemd of the unified layout would mount them, then the checks,
# then the end of the machine. Whatever happens, the machine powers off: nobody else could end it but the time limit.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o mode=620,gid=5 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo '+cpu +memory +pids +io' >/sys/fs/cgroup/cgroup.subtree_control
# What kmod-static-nodes does elsewhere: the loop driver's control device is there before the first loop device.
modprobe loop
ip link set lo up
ln -sfn /run /var/run
ln -s /opt/bin/node /usr/bin/node

node /opt/guest.mjs /dev/ttyS1
echo "vm: the checks ended with exit code $?"
sync
busybox poweroff -f
