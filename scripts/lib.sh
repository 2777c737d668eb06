# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the scripts share: where things are kept, how a long step runs, how to be root.
#
# Everything that is made once lives under $cache, in directories named after a hash of
# what they depend on. A directory is built beside its final name and renamed when it is
# complete, under a lock: an interrupted step starts clean, a finished one is never redone.

set -euo pipefail

top=$(realpath -- "$(dirname -- "${BASH_SOURCE[0]}")/..")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/rdaxfs
mkdir -p "$cache"
cache=$(realpath -- "$cache")
# shellcheck disable=SC2034 # for the scripts that include this
readonly top cache

say() { echo "rdaxfs: $*" >&2; }
die() { say "$*"; exit 1; }

# One key of all that the arguments and standard input say.
key() { { printf '%s\n' "$@"; cat; } | sha256sum | cut -c1-12; }

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "this step needs root rights: run as root, or install sudo"
	fi
}

# locked FD WHAT: takes the lock, and says so if that takes long.
locked() { flock -n "$1" || { say "waiting for who makes $2"; flock "$1"; }; }

# once DIR FUNCTION ARGS...: makes DIR by `FUNCTION TMP ARGS...`, unless it is there.
once() {
	local dir=$1
	shift
	[ ! -d "$dir" ] || return 0
	(
		locked 9 "$dir"
		[ ! -d "$dir" ] || exit 0
		# In the root there is no way to become another user, and no need.
		rm -rf --one-file-system "$dir.new" 2>/dev/null || as_root rm -rf --one-file-system "$dir.new"
		"$1" "$dir.new" "${@:2}"
		mv "$dir.new" "$dir"
	) 9>"$dir.lock"
}

# step NAME LINES LOG COMMAND...: runs COMMAND with its output in LOG, and tells every few
# seconds how far it is, LINES being about how many lines it writes in all.
step() {
	local name=$1 lines=$2 log=$3 start=$SECONDS pid done_ status=0
	shift 3
	say "$name ..."
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	trap 'kill $pid 2>/dev/null; exit 130' INT TERM
	while sleep 1 && kill -0 $pid 2>/dev/null; do
		[ $(((SECONDS - start) % 10)) = 0 ] || continue
		done_=$(($(wc -l <"$log") * 100 / lines))
		say "$name: $((done_ < 99 ? done_ : 99)) %, $((SECONDS - start)) s: $(tail -n1 "$log" | cut -c1-80)"
	done
	wait $pid || status=$?
	trap - INT TERM
	if [ $status != 0 ]; then
		tail -n 25 "$log" >&2
		die "$name: failed after $((SECONDS - start)) s; the whole output is in $log"
	fi
	say "$name: done in $((SECONDS - start)) s"
}

# The flags by which Kbuild compiled the crate, from the .cmd file of its object; without what says
# which outputs are wanted, and where.
crate_flags() {
	sed -n '1s/^savedcmd_[^=]*:= *//p' "$1" | sed 's/;.*//' | sed -E '
		s#^.*(rustc|clippy-driver) ##
		s#--(out-dir|crate-type) ?[^ ]*##g
		s#--emit=[^ ]*##g
		s#-Wunreachable_pub##
		s#-Zbinary_dep_depinfo=y##
		s#[^ ]*/rdaxfs\.rs *$##'
}
