#!/bin/sh
# Tests bin/roman; ends with status 1 at the first thing that is wrong.
set -eu
cd "$(dirname "$0")/.."

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

while read -r number expected; do
    found=$(bin/roman "$number")
    [ "$found" = "$expected" ] || fail "$number became $found, expected $expected"
    echo "ok: $number is $expected"
done <<END
1 I
4 IV
9 IX
14 XIV
40 XL
90 XC
400 CD
1444 MCDXLIV
1994 MCMXCIV
3999 MMMCMXCIX
END

for bad in 0 4000 -1 1.5 x ''; do
    if bin/roman "$bad" 2>/dev/null; then fail "'$bad' was taken"; fi
done
echo "ok: what is no number from 1 to 3999 is refused"

# Reads each numeral back by another rule: a letter before a greater one counts against the sum.
seq 1 3999 | xargs bin/roman | awk '
    BEGIN { v["I"] = 1; v["V"] = 5; v["X"] = 10; v["L"] = 50; v["C"] = 100; v["D"] = 500; v["M"] = 1000 }
    {
        sum = 0
        for (i = 1; i <= length($0); i++) {
            here = v[substr($0, i, 1)]
            sum += here < v[substr($0, i + 1, 1)] ? -here : here
        }
        if (sum != NR) { print "FAILED: " $0 " reads " sum ", expected " NR; exit 1 }
    }
    END { if (NR != 3999) { print "FAILED: " NR " numerals, expected 3999"; exit 1 } }'
echo "ok: 1 to 3999 there and back"
