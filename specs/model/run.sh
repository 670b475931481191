#!/usr/bin/env bash
# Explores every variant of secagg.pml completely, and checks that the rules as they stand have the
# properties and that each weakened rule loses the one it is there for. README.md explains both.
#
#   run.sh            everything
#   run.sh --small    leaves out the variants with more than a million states
#   run.sh --show P FLAGS…   prints the steps that break property P, say: --show d -DWITHOUT_U2_CONDITION
set -euo pipefail

model=$(cd "$(dirname "$0")" && pwd)/secagg.pml
for program in spin gcc; do
    if ! command -v "$program" >/dev/null; then
        echo "run.sh: $program is not installed (Debian and Ubuntu: apt-get install spin gcc)" >&2
        exit 2
    fi
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cp "$model" .

# The properties a to e as the number that the model takes.
check() {
    local sum=0
    [[ $1 == *a* ]] && sum=$((sum + 1))
    [[ $1 == *b* ]] && sum=$((sum + 2))
    [[ $1 == *c* ]] && sum=$((sum + 4))
    [[ $1 == *d* ]] && sum=$((sum + 8))
    [[ $1 == *e* ]] && sum=$((sum + 16))
    echo "$sum"
}

# SPIN's switch to pass over deadlocks, for a run in which a property must break.
deadlocks=

# Writes what the search of one variant says to the file `out`. No partial-order reduction and no
# bitstate hashing: every state is stored whole. T_REVERSE tries large sets first, so that the runs that
# must fail do so soon.
explore() {
    local properties=$1
    shift
    spin "$@" -DCHECK="$(check "$properties")" -a secagg.pml >spin.out 2>&1 || { cat spin.out >&2; exit 2; }
    gcc -O2 -w -DSAFETY -DNOREDUCE -DCOLLAPSE -DT_REVERSE -o pan pan.c
    ./pan -m100000 $deadlocks >out 2>&1 || true
}

# Replays a found trail (with the search's own program: `spin -t` takes other turns), sets spelt out.
replay() {
    local line number members v
    ./pan -r | grep -E '^client|^U2 is' | while read -r line; do
        while [[ $line =~ ^(.*)\ 0x([0-9a-f]+)(.*)$ ]]; do
            number=$((16#${BASH_REMATCH[2]}))
            members=
            for v in 0 1 2 3 4 5 6 7; do
                (((number >> v) & 1)) && members+=" $v"
            done
            line="${BASH_REMATCH[1]} {${members# }}${BASH_REMATCH[3]}"
        done
        echo "$line"
    done
}

if [[ ${1-} == --show ]]; then
    [[ $2 == *[a-e]* ]] && deadlocks=-E
    explore "$2" "${@:3}"
    if compgen -G '*.trail' >/dev/null; then
        replay
    else
        echo 'nothing breaks it'
    fi
    exit
fi

failures=0
printf '| %-53s | %-10s | %-27s | %8s | %5s | %5s | %4s |\n' \
    variant properties result states depth s MB
printf '|---|---|---|---:|---:|---:|---:|\n'

# variant SIZE EXPECTED PROPERTIES FLAGS…, where EXPECTED is "hold", or the error that SPIN must report.
variant() {
    local size=$1 expected=$2 properties=$3
    shift 3
    [[ $size == large && ${small-} ]] && return
    deadlocks=
    [[ $expected == breaks* ]] && deadlocks=-E
    explore "$properties" "$@"

    local result
    if grep -q 'assertion violated' out; then
        result=$(sed -n 's/^pan:1: assertion violated \([a-z_]*\).*/\1/p' out | sed 's/property_/breaks /')
    elif grep -q 'pan:1: invalid end state' out; then
        result=deadlock
    elif grep -q 'errors: 0$' out && ! grep -qE 'not completed|too small|out of memory' out; then
        result=hold
    else
        result='no result'
    fi
    if [[ $result != "$expected" ]]; then
        failures=$((failures + 1))
        result="$result, NOT $expected"
        [[ $result == no* ]] && cat out >&2
    fi
    printf '| %-53s | %-10s | %-27s | %8s | %5s | %5s | %4s |\n' \
        "$(sed 's/-D//g' <<<"$*")" "$properties" "$result" \
        "$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' out)" \
        "$(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' out)" \
        "$(sed -n 's/^pan: elapsed time \([0-9.]*\) seconds/\1/p' out)" \
        "$(sed -n 's/^ *\([0-9]*\)\.[0-9]*\ttotal actual memory usage.*/\1/p' out)"
}

[[ ${1-} == --small ]] && small=yes

# The rules as they stand, against a malicious server: 2t ≥ k + t_A.
variant small hold abcd -DN=4 -DT=2
variant small hold abcd -DN=4 -DT=3
variant small hold abcd -DN=4 -DT=3 -DA=1
variant small hold abcd -DN=5 -DT=3
variant small hold abcd -DN=5 -DT=3 -DA=1
variant small hold abcd -DN=5 -DT=4 -DA=2
variant large hold abcd -DN=6 -DT=4 -DA=1
variant small hold abcd -DN=6 -DT=4 -DA=2
variant large hold abcd -DN=7 -DT=5 -DA=2
variant small hold abcd -DN=7 -DT=5 -DA=3
# A ring. Properties c and d are not claimed there, but hold for one as small as this.
variant large hold abcd -DN=6 -DK=4 -DT=3 -DA=1

# An honest server and clients that fall silent.
variant small hold abcde -DHONEST_SERVER -DN=4 -DT=2
variant small hold abcde -DHONEST_SERVER -DN=4 -DT=3
variant small hold abcde -DHONEST_SERVER -DN=5 -DT=3
variant large hold abcde -DHONEST_SERVER -DN=6 -DT=3
variant small hold abe -DHONEST_SERVER -DN=6 -DK=4 -DT=3

# Each rule weakened, for the least cohort that shows it.
variant small 'breaks b' b -DN=4 -DT=2 -DWITHOUT_CONSISTENCY
variant small 'breaks c' c -DN=4 -DT=2 -DWITHOUT_CONSISTENCY
variant small 'breaks d' d -DN=4 -DT=2 -DWITHOUT_CONSISTENCY
variant small hold       a -DN=4 -DT=2 -DWITHOUT_CONSISTENCY
for property in a b c d; do
    variant small "breaks $property" $property -DN=5 -DT=2 -DA=1
done
variant small 'breaks a' a -DN=6 -DK=4 -DT=2
variant small 'breaks b' b -DN=6 -DK=4 -DT=2
variant small 'breaks c' c -DN=7 -DK=4 -DT=3 -DA=1
variant small 'breaks d' d -DN=4 -DT=2 -DWITHOUT_U2_CONDITION
variant small hold     abc -DN=4 -DT=2 -DWITHOUT_U2_CONDITION
variant small 'breaks d' d -DN=4 -DT=2 -DWITHOUT_U2_THRESHOLD
variant small 'breaks b' b -DN=4 -DT=2 -DWITHOUT_MEMBERSHIP
variant small 'breaks c' c -DN=4 -DT=2 -DSIGNS_TWICE
variant small 'breaks b' b -DN=4 -DT=2 -DOWN_SIGNATURE_COUNTED
variant small 'breaks c' c -DN=4 -DT=2 -DOWN_SIGNATURE_COUNTED
variant small 'breaks b' b -DN=4 -DT=2 -DREQUEST_DECIDES
variant small 'breaks d' d -DN=4 -DT=2 -DREQUEST_DECIDES
variant small 'breaks d' d -DN=4 -DT=2 -DWITHOUT_SELF_MASK
variant small 'breaks a' a -DN=4 -DT=2 -DONE_KEY_PAIR
variant small 'breaks e' e -DHONEST_SERVER -DN=4 -DT=2 -DTOO_MANY_DROPS
variant small deadlock  '' -DHONEST_SERVER -DN=4 -DT=2 -DTOO_MANY_DROPS

# What the rules ask beyond need: nothing is lost here.
variant small hold abcd -DN=4 -DT=2 -DWITHOUT_U3_THRESHOLD
variant small hold abcd -DN=4 -DT=2 -DA=1
variant small hold abcd -DN=5 -DT=3 -DA=2
variant small hold abcd -DN=6 -DT=4 -DA=3

# recount N T A WEAKENING…: the same states, counted without SPIN. SPIN has one more, before the clients
# are there.
recount() {
    local counted
    deadlocks=
    local weakened=("${@:4}")
    explore '' -DN="$1" -DT="$2" -DA="$3" "${weakened[@]/#/-D}"
    counted=$(python3 "$(dirname "$model")/recount.py" "$@")
    if ! grep -q "^ *$((${counted%% *} + 1)) states, stored" out; then
        failures=$((failures + 1))
        echo "run.sh: recount.py $*: $counted, but SPIN says otherwise:" >&2
        grep 'states, stored' out >&2
    fi
}
if command -v python3 >/dev/null; then
    recount 4 2 0
    recount 4 2 1
    recount 5 3 1
    recount 4 2 0 WITHOUT_CONSISTENCY
    recount 4 2 0 WITHOUT_U2_CONDITION
else
    echo 'run.sh: python3 is not installed, so the states are not counted a second time' >&2
fi

if ((failures > 0)); then
    echo "run.sh: $failures did not end as they should" >&2
    exit 1
fi
echo "run.sh: everything ended as it should" >&2
