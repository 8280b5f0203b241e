# One number a line becomes one Roman numeral a line. What is no number from 1 to 3999 ends it with status 2.
BEGIN {
    count = split("M CM D CD C XC L XL X IX V IV I", letters, " ")
    split("1000 900 500 400 100 90 50 40 10 9 5 4 1", values, " ")
}

!/^[0-9]+$/ || $0 + 0 < 1 || $0 + 0 > 3999 {
    printf "roman: %s is not a whole number from 1 to 3999\n", $0 >"/dev/stderr"
    exit 2
}

{
    left = $0 + 0
    numeral = ""
    for (i = 1; i <= count; i++) {
        while (left >= values[i]) {
            numeral = numeral letters[i]
            left -= values[i]
        }
    }
    print numeral
}
