# shellcheck shell=bash
# System packages: which are needed for what, and how they come in. Needs steps.sh.

# What a package is needed for is checked, not the package: a runc installed in another way is as good.
has_package() {
  case $1 in
    busybox-static) command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1 ;;
    iproute2) command -v ip >/dev/null ;;
    nftables) command -v nft >/dev/null ;;
    e2fsprogs) command -v mkfs.ext4 >/dev/null && command -v e2fsck >/dev/null ;;
    util-linux) command -v setpriv >/dev/null && command -v losetup >/dev/null && command -v flock >/dev/null ;;
    libc6-dev) [ -f /usr/include/stdlib.h ] ;;
    perl-base) command -v perl >/dev/null ;;
    systemd) command -v systemd-analyze >/dev/null ;;
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ;;
    qemu-system-x86) command -v qemu-system-x86_64 >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# missing_packages NAME...: those that are not there, on one line.
missing_packages() {
  local name missing=()
  for name in "$@"; do
    if ! has_package "$name"; then missing+=("$name"); fi
  done
  echo "${missing[*]}"
}

# install_packages NAME...: all given ones.
install_packages() {
  local wanted="the system packages $*"
  if ! command -v apt-get >/dev/null; then
    cannot "$wanted" "this is not a Debian system (no apt-get)" "install the programs with this system's own package manager, then run this again"
  fi
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  need_root "$wanted" apt-get install "$@"
  case " $* " in *' postgresql '*) keep_packaged_postgres_off "$wanted" ;; esac
  case " $* " in *' prometheus '*) keep_packaged_prometheus_off "$wanted" ;; esac
  if ! compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; then logged "${elevate[@]}" "${apt[@]}" update; fi
  # Lists may name versions that the mirrors have dropped since; once they are fresh a failure is final.
  if ! quietly "${elevate[@]}" "${apt[@]}" install --no-install-recommends "$@"; then
    logged "${elevate[@]}" "${apt[@]}" update
    logged "${elevate[@]}" "${apt[@]}" install --no-install-recommends "$@"
  fi
  case " $* " in *' nats-server '*) keep_packaged_nats_off "$wanted" ;; esac
  case " $* " in *' postgresql '*) as_root "$wanted" rm -f "$NO_MAIN_CLUSTER" ;; esac
  case " $* " in *' prometheus '*) leave_packaged_prometheus_off "$wanted" ;; esac
}

# Debian makes a database cluster with the package and starts it. The tests make their own, which end with them.
readonly NO_MAIN_CLUSTER=/etc/postgresql-common/createcluster.d/nexus.conf
keep_packaged_postgres_off() {
  as_root "$1" install -d "${NO_MAIN_CLUSTER%/*}"
  # shellcheck disable=SC2016
  as_root "$1" sh -c 'echo "create_main_cluster = false" >"$1"' sh "$NO_MAIN_CLUSTER"
}

# Debian starts its nats-server on every address at port 4222, where the controller's own has to listen. Only done
# when it was installed here: somebody else's running server is left alone.
keep_packaged_nats_off() {
  command -v systemctl >/dev/null || return 0
  if [ -d /run/systemd/system ]; then
    as_root "$1" systemctl --quiet disable --now nats-server.service
  else
    as_root "$1" systemctl --quiet disable nats-server.service
  fi
}

# Debian starts its Prometheus on port 9090 as soon as it is unpacked; the tests start their own. What is masked is not
# started; afterwards the unit is there for whoever wants it, and off. A mask that was there before stays.
readonly PROMETHEUS_MASK=/etc/systemd/system/prometheus.service
has_made_mask=''
keep_packaged_prometheus_off() {
  if [ -e "$PROMETHEUS_MASK" ] || [ -L "$PROMETHEUS_MASK" ]; then return 0; fi
  as_root "$1" install -d "${PROMETHEUS_MASK%/*}"
  as_root "$1" ln -s /dev/null "$PROMETHEUS_MASK"
  has_made_mask=yes
}

leave_packaged_prometheus_off() {
  [ -n "$has_made_mask" ] || return 0
  as_root "$1" rm -f "$PROMETHEUS_MASK"
  if command -v systemctl >/dev/null; then as_root "$1" systemctl --quiet disable prometheus.service; fi
}
