. lib/sum.sh
got=$(sum 2 3)
[ "$got" = "5" ] || { echo "sum: expected 5, got $got"; exit 1; }
