# Prints a text in capitals.
upper() {
    printf '%s\n' "$1" | tr 'A-Z' 'a-z'
}

# What follows is about white space.
#
# It stands apart from the above, so that two people can work on the file at once.

# Prints a text without blanks around it.
trim() {
    printf '%s\n' "$1" | sed 's/^ *//'
}
